import HTTPTypes
import NIOCore
import NIOHTTPTypes

/// Closes a connection whose request is not received and answered, to the last byte of both, within a
/// time: neither a client that sends slowly nor one that does not read its answer holds it for ever.
///
/// The head's own time is bounded by the server's idle timeout. After an answer that says
/// `Connection: close`, and when the server stops, half a second is left.
final class RequestDeadline: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPRequestPart
    typealias InboundOut = HTTPRequestPart
    typealias OutboundIn = HTTPResponsePart
    typealias OutboundOut = HTTPResponsePart

    private static let goodbye = TimeAmount.milliseconds(500)

    private let timeout: TimeAmount
    private var isReceiving = false
    private var unanswered = 0
    private var closing: Scheduled<Void>?
    private var isLeaving = false

    init(timeout: TimeAmount) {
        self.timeout = timeout
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head:
            isReceiving = true
            unanswered += 1
            if closing == nil { close(context, after: timeout) }
        case .body: break
        case .end:
            isReceiving = false
            if unanswered == 0, !isLeaving { cancel() }
        }
        context.fireChannelRead(data)
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        switch unwrapOutboundIn(data) {
        case .head(let response):
            if response.headerFields[.connection] == "close" { isLeaving = true }
            return context.write(data, promise: promise)
        case .body: return context.write(data, promise: promise)
        case .end: break
        }
        let promise = promise ?? context.eventLoop.makePromise()
        promise.futureResult.assumeIsolated().whenComplete { _ in
            self.unanswered -= 1
            if self.isLeaving {
                self.close(context, after: Self.goodbye)
            } else if self.unanswered > 0 {
                // Time starts anew for a request that came with this one.
                self.close(context, after: self.timeout)
            } else if !self.isReceiving {
                self.cancel()
            }
        }
        context.write(data, promise: promise)
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if event is ChannelShouldQuiesceEvent {
            isLeaving = true
            close(context, after: Self.goodbye)
        }
        context.fireUserInboundEventTriggered(event)
    }

    func channelInactive(context: ChannelHandlerContext) {
        cancel()
        context.fireChannelInactive()
    }

    func handlerRemoved(context: ChannelHandlerContext) { cancel() }

    private func close(_ context: ChannelHandlerContext, after time: TimeAmount) {
        cancel()
        closing = context.eventLoop.assumeIsolated().scheduleTask(in: time) {
            context.close(promise: nil)
        }
    }

    private func cancel() {
        closing?.cancel()
        closing = nil
    }
}
