"""A TCP proxy between Kafka clients and their brokers: it delays, and can take the brokers away.

A Kafka client only bootstraps from the address it was given; from then on it connects to the
addresses that brokers advertise. The proxy therefore reads the two responses that carry broker
addresses, Metadata and FindCoordinator, and replaces each address by a local port of its own.
Everything else passes through untouched. Plain TCP only: under TLS the responses cannot be read.
"""

import socket
import struct
import threading
import time

METADATA = 3
FIND_COORDINATOR = 10
# https://kafka.apache.org/protocol: the first versions with compact strings and tagged fields.
METADATA_FLEXIBLE = 9
FIND_COORDINATOR_FLEXIBLE = 3
FIND_COORDINATOR_BATCHED = 4
MAXIMUM_FRAME_BYTES = 128 << 20


class KafkaProxy:
    """Listens on 127.0.0.1, one port for each broker address it meets.

    Every request and every response is held back for `delay_seconds`.
    """

    def __init__(self, bootstrap, delay_seconds):
        self._delay_seconds = delay_seconds
        self._lock = threading.Lock()
        self._ports = {}  # (host, port) of a broker -> our local port
        self._listeners = []
        self._connections = set()
        self._reachable = True
        self._flowing = threading.Event()
        self._flowing.set()
        first = bootstrap.split(",")[0]
        host, port = first.rsplit(":", 1)
        self.bootstrap = f"127.0.0.1:{self._local_port(host.strip('[]'), int(port))}"

    def cut(self):
        """Resets every connection and refuses new ones, as a broker that died."""
        with self._lock:
            self._reachable = False
            connections = list(self._connections)
        for connection in connections:
            _reset(connection)

    def stall(self):
        """Keeps connections open but lets no byte through, as a network that drops packets."""
        self._flowing.clear()

    def restore(self):
        with self._lock:
            self._reachable = True
        self._flowing.set()

    def close(self):
        self.cut()
        self._flowing.set()
        for listener in self._listeners:
            # Closing alone does not wake a thread that waits in accept().
            try:
                listener.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            listener.close()

    def _local_port(self, host, port):
        with self._lock:
            if (host, port) not in self._ports:
                listener = socket.create_server(("127.0.0.1", 0))
                self._listeners.append(listener)
                self._ports[host, port] = listener.getsockname()[1]
                _start(self._accept, listener, (host, port))
            return self._ports[host, port]

    def _accept(self, listener, broker):
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with self._lock:
                reachable = self._reachable
            if not reachable:
                _reset(client)
                continue
            _start(self._connect, client, broker)

    def _connect(self, client, broker):
        try:
            server = socket.create_connection(broker, timeout=10)
            server.settimeout(None)
        except OSError:
            _reset(client)
            return
        with self._lock:
            self._connections |= {client, server}
            reachable = self._reachable
        if not reachable:
            _reset(client)
            _reset(server)
            return
        for connection in (client, server):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        requests = {}  # correlation id -> (api key, api version) of the requests under way
        _start(self._pump, client, server, lambda frame: self._note(frame, requests))
        self._pump(server, client, lambda frame: self._rewrite(frame, requests))

    def _pump(self, source, target, transform):
        try:
            while True:
                length = struct.unpack(">i", _receive(source, 4))[0]
                if not 0 <= length <= MAXIMUM_FRAME_BYTES:
                    raise OSError("not a Kafka frame")
                frame = transform(_receive(source, length))
                time.sleep(self._delay_seconds)
                self._flowing.wait()
                target.sendall(struct.pack(">i", len(frame)) + frame)
        except (OSError, EOFError):
            with self._lock:
                self._connections -= {source, target}
            _reset(source)
            _reset(target)

    def _note(self, frame, requests):
        key, version, correlation = struct.unpack_from(">hhi", frame)
        if key in (METADATA, FIND_COORDINATOR):
            requests[correlation] = (key, version)
        return frame

    def _rewrite(self, frame, requests):
        correlation = struct.unpack_from(">i", frame)[0]
        key, version = requests.pop(correlation, (None, None))
        if key == METADATA:
            return self._rewrite_metadata(frame, version)
        if key == FIND_COORDINATOR:
            return self._rewrite_coordinator(frame, version)
        return frame

    def _rewrite_metadata(self, frame, version):
        flexible = version >= METADATA_FLEXIBLE
        copy = _Copier(frame, flexible)
        copy.header()
        if version >= 3:
            copy.raw(4)  # throttle_time_ms
        for _ in range(copy.array_length()):
            copy.raw(4)  # node_id
            copy.address(self._local_port)
            if version >= 1:
                copy.string()  # rack
            copy.tags()
        return copy.finish()

    def _rewrite_coordinator(self, frame, version):
        copy = _Copier(frame, version >= FIND_COORDINATOR_FLEXIBLE)
        copy.header()
        if version >= 1:
            copy.raw(4)  # throttle_time_ms
        if version >= FIND_COORDINATOR_BATCHED:
            for _ in range(copy.array_length()):
                copy.string()  # key
                copy.raw(4)  # node_id
                copy.address(self._local_port)
                copy.raw(2)  # error_code
                copy.string()  # error_message
                copy.tags()
        else:
            copy.raw(2)  # error_code
            if version >= 1:
                copy.string()  # error_message
            copy.raw(4)  # node_id
            copy.address(self._local_port)
        return copy.finish()


class _Copier:
    """Copies a response field by field, so that a field of another length can be put in."""

    def __init__(self, frame, flexible):
        self._in = frame
        self._at = 0
        self._out = bytearray()
        self._flexible = flexible

    def header(self):
        self.raw(4)  # correlation_id
        self.tags()

    def raw(self, count):
        self._out += self._in[self._at : self._at + count]
        self._at += count

    def tags(self):
        if self._flexible:
            for _ in range(self._copy_varint()):
                self._copy_varint()
                self.raw(self._copy_varint())

    def array_length(self):
        if self._flexible:
            return self._copy_varint() - 1
        self.raw(4)
        return struct.unpack_from(">i", self._in, self._at - 4)[0]

    def string(self):
        value = self._read_string()
        self._write_string(value)

    def address(self, local_port):
        host = self._read_string()
        port = struct.unpack_from(">i", self._in, self._at)[0]
        self._at += 4
        if host and port > 0:  # a coordinator that is not available has none
            host, port = b"127.0.0.1", local_port(host.decode(), port)
        self._write_string(host)
        self._out += struct.pack(">i", port)

    def finish(self):
        return bytes(self._out + self._in[self._at :])

    def _read_string(self):
        if self._flexible:
            length = self._read_varint() - 1
        else:
            length = struct.unpack_from(">h", self._in, self._at)[0]
            self._at += 2
        if length < 0:
            return None
        self._at += length
        return self._in[self._at - length : self._at]

    def _write_string(self, value):
        if self._flexible:
            self._out += _varint(0 if value is None else len(value) + 1)
        else:
            self._out += struct.pack(">h", -1 if value is None else len(value))
        self._out += value or b""

    def _copy_varint(self):
        value = self._read_varint()
        self._out += _varint(value)
        return value

    def _read_varint(self):
        value = shift = 0
        while True:
            byte = self._in[self._at]
            self._at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7


def _varint(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return out


def _receive(connection, count):
    data = bytearray()
    while len(data) < count:
        chunk = connection.recv(min(count - len(data), 1 << 20))
        if not chunk:
            raise EOFError
        data += chunk
    return bytes(data)


def _reset(connection):
    try:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    connection.close()


def _start(function, *arguments):
    threading.Thread(target=function, args=arguments, daemon=True).start()
