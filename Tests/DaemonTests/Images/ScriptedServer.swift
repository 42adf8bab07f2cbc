import NIOCore
import NIOPosix
import NIOSSL
import Synchronization

/// A web server on a loopback address that answers each path with exactly the bytes it was told,
/// right or wrong, and remembers what it was asked.
final class ScriptedServer: Sendable {
    enum Step: Sendable {
        case send(String)
        /// `count` bytes of "x".
        case fill(count: Int)
        /// One byte every 20 ms, until the client has had enough.
        case drip
        case close
    }

    private let script: Mutex<[String: [Step]]> = Mutex([:])
    private let log: Mutex<[String]> = Mutex([])
    private let connectionCounter = Mutex(0)
    private let channel: Mutex<(any Channel)?> = Mutex(nil)

    /// The requests' heads, in order of arrival.
    var requests: [String] { log.withLock { $0 } }
    var connectionCount: Int { connectionCounter.withLock { $0 } }
    var port: Int { channel.withLock { $0?.localAddress?.port } ?? 0 }

    static func start(
        on address: String = "127.0.0.1", port: Int = 0, tls: NIOSSLContext? = nil
    ) async throws -> ScriptedServer {
        let server = ScriptedServer()
        let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelInitializer { channel in
                server.connectionCounter.withLock { $0 += 1 }
                return channel.eventLoop.makeCompletedFuture {
                    if let tls {
                        try channel.pipeline.syncOperations.addHandler(
                            NIOSSLServerHandler(context: tls))
                    }
                    try channel.pipeline.syncOperations.addHandler(Connection(server: server))
                }
            }
            .bind(host: address, port: port).get()
        server.channel.withLock { $0 = channel }
        return server
    }

    func stop() async {
        try? await channel.withLock { $0 }?.close().get()
    }

    func on(_ path: String, _ steps: Step...) {
        script.withLock { $0[path] = steps }
    }

    /// A well-formed answer.
    func on(_ path: String, status: String = "200 OK", fields: [String] = [], body: String) {
        let head = ["HTTP/1.1 \(status)", "Content-Length: \(body.utf8.count)"] + fields
        on(path, .send(head.joined(separator: "\r\n") + "\r\n\r\n" + body))
    }

    func redirect(_ path: String, to location: String, status: String = "302 Found") {
        on(path, status: status, fields: ["Location: \(location)"], body: "")
    }

    private final class Connection: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        private let server: ScriptedServer
        private var received = ""

        init(server: ScriptedServer) { self.server = server }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            received += String(buffer: unwrapInboundIn(data))
            while let end = received.range(of: "\r\n\r\n") {
                let head = String(received[..<end.lowerBound])
                received = String(received[end.upperBound...])
                server.log.withLock { $0.append(head) }
                let target = head.split(separator: " ").dropFirst().first.map(String.init) ?? ""
                let steps =
                    server.script.withLock { $0[target] }
                    ?? [.send("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")]
                for step in steps { play(step, context.channel) }
            }
        }

        private func play(_ step: Step, _ channel: any Channel) {
            switch step {
            case .send(let text): channel.writeAndFlush(ByteBuffer(string: text), promise: nil)
            case .fill(let count):
                channel.writeAndFlush(
                    ByteBuffer(repeating: UInt8(ascii: "x"), count: count), promise: nil)
            case .drip:
                channel.eventLoop.scheduleRepeatedTask(
                    initialDelay: .zero, delay: .milliseconds(20)
                ) { task in
                    guard channel.isActive else { return task.cancel() }
                    channel.writeAndFlush(ByteBuffer(string: "x"), promise: nil)
                }
            case .close: channel.close(promise: nil)
            }
        }

        func errorCaught(context: ChannelHandlerContext, error: any Error) {
            context.close(promise: nil)
        }
    }
}

extension String {
    fileprivate func range(of text: String) -> Range<String.Index>? {
        firstRange(of: text)
    }
}
