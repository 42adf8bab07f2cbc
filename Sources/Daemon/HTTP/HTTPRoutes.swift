import HTTPTypes
import Hummingbird
import Metrics

/// One thing that can be asked for.
struct HTTPRoute: Sendable {
    let method: HTTPRequest.Method
    let path: String
    /// Answered without a token, for probes.
    var isOpen = false
    let answer: @Sendable (Request) async throws -> Response
}

/// From a request to its answer: path, method, token, size, and then the route's own doing.
///
/// Paths are compared as they were sent: no decoding, no dots, no doubled or last slash to be tricked
/// with. What is wrong with a request is answered as JSON, and nothing of the request stands in it.
struct HTTPRoutes: HTTPResponder {
    typealias Context = BasicRequestContext

    private let routes: [HTTPRoute]
    private let token: BearerToken?
    private let maximumBodyBytes: Int
    private let metrics: any MetricsFactory

    init(
        _ routes: [HTTPRoute], token: BearerToken?, maximumBodyBytes: Int,
        metrics: any MetricsFactory
    ) {
        self.routes = routes
        self.token = token
        self.maximumBodyBytes = maximumBodyBytes
        self.metrics = metrics
    }

    func respond(to request: Request, context: Context) async throws -> Response {
        let routes = routes.filter { $0.path == request.uri.path }
        let response = try await answer(request, routes)
        Counter(
            label: "uhan_http_requests_total",
            dimensions: [
                ("path", routes.first?.path ?? "other"), ("status", "\(response.status.code)"),
            ], factory: metrics
        ).increment()
        return request.method == .head ? response.createHeadResponse() : response
    }

    private func answer(_ request: Request, _ routes: [HTTPRoute]) async throws -> Response {
        guard !routes.isEmpty else { return .error(.notFound, "no such path") }
        // A HEAD is a GET whose body is not sent.
        let method = request.method == .head ? .get : request.method
        guard let route = routes.first(where: { $0.method == method }) else {
            let methods = routes.map(\.method.rawValue) + (has(.get, routes) ? ["HEAD"] : [])
            let allowed = methods.sorted().joined(separator: ", ")
            return .error(.methodNotAllowed, "use \(allowed)", [.allow: allowed])
        }
        if !route.isOpen, let token {
            guard let field = request.headers[.authorization], token.isIn(field) else {
                return .error(
                    .unauthorized, "needs the field Authorization: Bearer, and the token",
                    [.wwwAuthenticate: "Bearer"])
            }
        }
        if let field = request.headers[.contentLength], let length = Int(field),
            length > maximumBodyBytes
        {
            return .error(
                .contentTooLarge, "the body has more than \(maximumBodyBytes) bytes",
                [.connection: "close"])
        }
        return try await route.answer(request)
    }

    private func has(_ method: HTTPRequest.Method, _ routes: [HTTPRoute]) -> Bool {
        routes.contains { $0.method == method }
    }
}

extension Response {
    /// Answers are of this moment: nobody keeps them, and nobody guesses their type.
    static func text(
        _ status: HTTPResponse.Status, _ type: String, _ text: String, _ fields: HTTPFields = [:]
    ) -> Response {
        var headers = fields
        headers[.contentType] = type
        headers[.cacheControl] = "no-store"
        headers[.xContentTypeOptions] = "nosniff"
        return Response(
            status: status, headers: headers,
            body: ResponseBody(byteBuffer: ByteBuffer(string: text)))
    }

    /// - Parameter json: the object's fields, as JSON.
    static func json(
        _ status: HTTPResponse.Status, _ json: String, _ fields: HTTPFields = [:]
    ) -> Response {
        text(status, "application/json", "{\(json)}\n", fields)
    }

    static func error(
        _ status: HTTPResponse.Status, _ text: String, _ fields: HTTPFields = [:]
    ) -> Response {
        json(status, "\"error\":\(jsonString(text))", fields)
    }
}
