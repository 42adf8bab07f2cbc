import NIOCore
import NIOPosix
import Synchronization

/// A web server for pictures on 127.0.0.1 whose paths begin to answer when they are told to.
final class ImageServer: Sendable {
    enum Reply: Sendable {
        case picture([UInt8])
        case status(String)
        /// The request is taken, and nothing comes.
        case silence
    }

    private let replies = Mutex<[String: Reply]>([:])
    private let requestCount = Mutex(0)
    private let channel: Mutex<(any Channel)?> = Mutex(nil)

    var requests: Int { requestCount.withLock { $0 } }
    var port: Int { channel.withLock { $0?.localAddress?.port } ?? 0 }

    static func start(port: Int = 0) async throws -> ImageServer {
        let server = ImageServer()
        let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(Connection(server: server))
                }
            }
            .bind(host: "127.0.0.1", port: port).get()
        server.channel.withLock { $0 = channel }
        return server
    }

    func stop() async {
        try? await channel.withLock { $0 }?.close().get()
    }

    func on(_ path: String, _ reply: Reply) {
        replies.withLock { $0[path] = reply }
    }

    func url(_ path: String) -> String { "http://127.0.0.1:\(port)\(path)" }

    private final class Connection: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        private let server: ImageServer
        private var received = ""

        init(server: ImageServer) { self.server = server }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            received += String(buffer: unwrapInboundIn(data))
            guard received.hasSuffix("\r\n\r\n") else { return }
            let path = received.split(separator: " ").dropFirst().first.map(String.init) ?? ""
            received = ""
            server.requestCount.withLock { $0 += 1 }
            let (status, body): (String, [UInt8])
            switch server.replies.withLock({ $0[path] }) {
            case .picture(let bytes): (status, body) = ("200 OK", bytes)
            case .status(let text): (status, body) = (text, [])
            case nil: (status, body) = ("404 Not Found", [])
            case .silence: return
            }
            var answer = ByteBuffer(
                string: "HTTP/1.1 \(status)\r\nContent-Length: \(body.count)\r\n\r\n")
            answer.writeBytes(body)
            context.channel.writeAndFlush(answer, promise: nil)
        }

        func errorCaught(context: ChannelHandlerContext, error: any Error) {
            context.close(promise: nil)
        }
    }
}
