import NIOCore
import NIOPosix
import NIOSSL
import Testing

/// A client that sends what it is told to, right or wrong, and reads all that comes back.
struct HTTPClient {
    let port: Int
    var tls: TLSConfiguration?

    /// Sends the bytes and waits for the server to close.
    /// - Returns: All that came.
    func exchange(_ text: String) async throws -> String {
        let connection = try await open()
        try await connection.send(text)
        return try await connection.allUntilClosed()
    }

    func answer(
        _ path: String, method: String = "GET", fields: [String] = [], body: String = ""
    ) async throws -> Answer {
        let head = ["\(method) \(path) HTTP/1.1", "Host: test", "Connection: close"] + fields
        return try Answer(
            await exchange(head.joined(separator: "\r\n") + "\r\n\r\n" + body))
    }

    func open() async throws -> Connection {
        let received = Received()
        let channel = try await ClientBootstrap(group: .singletonMultiThreadedEventLoopGroup)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    if let tls {
                        try channel.pipeline.syncOperations.addHandler(
                            NIOSSLClientHandler(
                                context: NIOSSLContext(configuration: tls),
                                serverHostname: "photos.invalid"))
                    }
                    try channel.pipeline.syncOperations.addHandler(
                        Collector(received: received))
                }
            }
            .connect(host: "127.0.0.1", port: port).get()
        return Connection(channel: channel, received: received)
    }

    struct Connection: Sendable {
        let channel: any Channel
        fileprivate let received: Received

        func send(_ text: String) async throws {
            try await channel.writeAndFlush(ByteBuffer(string: text))
        }

        func allUntilClosed() async throws -> String {
            try await channel.closeFuture.get()
            return String(buffer: try await channel.eventLoop.submit { received.buffer }.get())
        }

        func received(_ text: String) async throws -> Bool {
            let buffer = try await channel.eventLoop.submit { received.buffer }.get()
            return String(buffer: buffer).contains(text)
        }
    }

    struct Answer {
        let status: Int
        let fields: [String: String]
        let body: String

        struct Unreadable: Error { let text: String }

        init(_ text: String) throws {
            let parts = text.split(separator: "\r\n\r\n", maxSplits: 1).map(String.init)
            let lines = (parts.first ?? "").split(separator: "\r\n")
            let words = (lines.first ?? "").split(separator: " ")
            guard words.count >= 2, words[0] == "HTTP/1.1", let status = Int(words[1]) else {
                throw Unreadable(text: text)
            }
            self.status = status
            fields = Dictionary(
                lines.dropFirst().compactMap { line in
                    line.firstIndex(of: ":").map {
                        (
                            line[..<$0].lowercased(),
                            String(line[line.index($0, offsetBy: 2)...])
                        )
                    }
                }, uniquingKeysWith: { $0 + ", " + $1 })
            body = parts.count > 1 ? parts[1] : ""
        }
    }
}

/// Touched on the channel's event loop alone.
private final class Received: @unchecked Sendable {
    var buffer = ByteBuffer()
}

private final class Collector: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let received: Received

    init(received: Received) {
        self.received = received
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var buffer = unwrapInboundIn(data)
        received.buffer.writeBuffer(&buffer)
    }

    /// An end without TLS' own goodbye is an end.
    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }
}
