import Daemon
import Foundation
import NIOSSL
import Testing

/// What is asked for rightly and wrongly, over real sockets. No daemon runs beside the server.
@Suite struct HTTPServiceTests {
    @Test func probesAndMetricsAreAnswered() async throws {
        let stage = HTTPStage()
        try await stage.whileAnswering { (client, _) async throws in
            let live = try await client.answer("/livez")
            #expect(live.status == 200 && live.body == "{\"status\":\"alive\"}\n")
            #expect(live.fields["content-type"] == "application/json")
            #expect(live.fields["cache-control"] == "no-store")

            let ready = try await client.answer("/readyz")
            #expect(ready.status == 503)
            #expect(ready.body.contains("\"waiting_for\":[\"the model: it is being loaded"))

            let metrics = try await client.answer("/metrics?name=x")
            #expect(metrics.status == 200)
            #expect(metrics.fields["content-type"] == "text/plain; version=0.0.4; charset=utf-8")
            let page = try PrometheusPage(metrics.body)
            #expect(page.value("uhan_ready") == 0)
            #expect(page.value("uhan_scores_published_total") == 0)
            #expect(page.families.values.allSatisfy { !$0.help.isEmpty })
            #expect(
                page.value("uhan_http_requests_total", ["path": "/readyz", "status": "503"]) == 1)
        }
        #expect(stage.log.contains("answering HTTP"))
    }

    @Test func aHeadIsAnsweredWithoutABody() async throws {
        try await HTTPStage().whileAnswering { (client, _) async throws in
            let head = try await client.answer("/livez", method: "HEAD")
            #expect(head.status == 200 && head.body == "")
            #expect(head.fields["content-length"] == "19")
        }
    }

    @Test(arguments: [
        "/", "/nothing", "/livez/", "//livez", "/./livez", "/x/../metrics", "/%6civez", "/LIVEZ",
        "/livez%00", "/metrics;x", "*",
    ])
    func otherPathsAreNotFoundAndNotShown(path: String) async throws {
        let stage = HTTPStage()
        try await stage.whileAnswering { (client, _) async throws in
            let answer = try await client.answer(path)
            #expect(answer.status == 404 && answer.body == "{\"error\":\"no such path\"}\n")
        }
        let page = try PrometheusPage(stage.metrics.prometheusText())
        #expect(page.value("uhan_http_requests_total", ["path": "other", "status": "404"]) == 1)
    }

    @Test(arguments: ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "PROPFIND"])
    func otherMethodsAreRefused(method: String) async throws {
        try await HTTPStage().whileAnswering { (client, _) async throws in
            for path in ["/livez", "/readyz", "/metrics"] {
                let answer = try await client.answer(path, method: method)
                #expect(answer.status == 405)
                #expect(answer.fields["allow"] == "GET, HEAD")
            }
        }
    }

    // MARK: The token

    @Test func metricsNeedTheTokenAndProbesDoNot() async throws {
        var stage = HTTPStage()
        stage.settings.token = Secret(HTTPStage.token)
        try await stage.whileAnswering { (client, _) async throws in
            let (token, path) = (HTTPStage.token, "/metrics")
            for field in ["Bearer \(token)", "bearer \(token)"] {
                let answer = try await client.answer(path, fields: ["Authorization: \(field)"])
                #expect(answer.status == 200)
            }
            let wrong = [
                "Bearer", "Bearer ", "Bearer x", "Bearer \(token)x", "Bearer \(token.dropLast())",
                "Bearer  \(token)", "Basic \(token)", token, "Bearer \(token.uppercased())",
                "Bearer \(token), Bearer \(token)", "Bearer <hidden>",
            ]
            for field in wrong {
                let answer = try await client.answer(path, fields: ["Authorization: \(field)"])
                #expect(answer.status == 401, "\(field)")
                #expect(answer.fields["www-authenticate"] == "Bearer")
                #expect(!answer.body.contains(token))
            }
            #expect(try await client.answer(path).status == 401)
            #expect(try await client.answer("\(path)?token=\(token)").status == 401)
            #expect(try await client.answer("/livez").status == 200)
            #expect(try await client.answer("/readyz").status == 503)
        }
        #expect(!stage.log.contains(HTTPStage.token))
    }

    @Test func theTokenMayStandInAFile() async throws {
        let folder = try Folder()
        try folder.write(Array("\(HTTPStage.token)\n".utf8), to: "token")
        var stage = HTTPStage()
        stage.settings.tokenFile = folder.file("token")
        try await stage.whileAnswering { (client, _) async throws in
            let fields = ["Authorization: Bearer \(HTTPStage.token)"]
            #expect(try await client.answer("/metrics", fields: fields).status == 200)
            #expect(try await client.answer("/metrics").status == 401)
        }
    }

    @Test func whatIsNoTokenIsToldAtTheStartAndNotShown() throws {
        let folder = try Folder()
        for text in [
            "", "\n", "too-short-s3cre", "with a blank s3cret", "s3cret-\u{e9}-s3cret-s3cret",
        ] {
            try folder.write(Array(text.utf8), to: "token")
            var stage = HTTPStage()
            stage.settings.tokenFile = folder.file("token")
            expectFailure(stage, "http.token_file", "16 to 4096 letters")
        }
        var stage = HTTPStage()
        stage.settings.tokenFile = folder.file("none")
        expectFailure(stage, "http.token_file", "No such file")
        stage.settings.tokenFile = folder.path
        expectFailure(stage, "http.token_file", "Is a directory")
        stage.settings.tokenFile = ""
        stage.settings.token = Secret("s3cret")
        expectFailure(stage, "http.token", "16 to 4096 letters")
    }

    // MARK: Sizes and times

    @Test(arguments: [
        "A: \(String(repeating: "a", count: 100_000))",
        (0..<101).map { "A\($0): b" }.joined(separator: "\r\n"),
        "Content-Length: 3\r\nContent-Length: 4", "Content-Length: 3\r\nTransfer-Encoding: chunked",
        "Content-Length: 99999999999999999999999", "no field",
    ])
    func headsThatAreTooLargeOrNotHTTPAreRefused(fields: String) async throws {
        try await HTTPStage().whileAnswering { (client, _) async throws in
            let answer = try await client.answer("/livez", fields: [fields])
            #expect(answer.status == 400 && answer.body == "")
            #expect(try await client.answer("/livez").status == 200)
        }
    }

    @Test func aPathThatIsTooLongAndBytesThatAreNoRequestAreRefused() async throws {
        try await HTTPStage().whileAnswering { (client, _) async throws in
            let path = "/" + String(repeating: "a", count: 100_000)
            #expect(try await client.answer(path).status == 400)
            for text in [
                "\u{16}\u{3}\u{1}\u{0}hello\r\n\r\n", "GET\r\n\r\n", "FOO / HTTP/1.1\r\n\r\n",
            ] {
                #expect(try await client.exchange(text).hasPrefix("HTTP/1.1 400 "))
            }
        }
    }

    @Test func aBodyThatIsTooLargeIsRefusedBeforeItComes() async throws {
        var stage = HTTPStage()
        stage.settings.maximumBodyBytes = 10
        try await stage.whileAnswering { (client, _) async throws in
            // The body never comes; the answer does, and the connection ends.
            let text = try await client.exchange(
                "GET /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\n")
            let answer = try HTTPClient.Answer(text)
            #expect(answer.status == 413 && answer.fields["connection"] == "close")
            #expect(answer.body.contains("more than 10 bytes"))
            let fields = ["Content-Length: 10"]
            let fits = try await client.answer("/livez", fields: fields, body: "0123456789")
            #expect(fits.status == 200)
        }
    }

    @Test(arguments: [
        "", "GET /livez HT", "GET /livez HTTP/1.1\r\nHost: x\r\n",
        "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n",
    ])
    func aConnectionWithoutAWholeHeadIsClosed(text: String) async throws {
        var stage = HTTPStage()
        stage.settings.idleTimeoutMilliseconds = 3_000
        try await stage.whileAnswering { (client, _) async throws in
            let answer = try await client.exchange(text)
            #expect(answer.hasPrefix("HTTP/1.1 200") == text.hasSuffix("\r\n\r\n"))
        }
    }

    @Test func aBodyThatDoesNotEndIsCutOff() async throws {
        var stage = HTTPStage()
        stage.settings.requestTimeoutMilliseconds = 300
        try await stage.whileAnswering { (client, _) async throws in
            let connection = try await client.open()
            try await connection.send(
                "GET /livez HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
            // Bytes keep coming: it is not idle, and has to end all the same.
            let dripping = Task {
                while !Task.isCancelled {
                    try await connection.send("1\r\nx\r\n")
                    try await Task.sleep(for: .milliseconds(20))
                }
            }
            _ = try await connection.allUntilClosed()
            dripping.cancel()
            #expect(try await client.answer("/livez").status == 200)
        }
    }

    @Test func requestsOnOneConnectionAreAnsweredInOrder() async throws {
        try await HTTPStage().whileAnswering { (client, _) async throws in
            let head = "HTTP/1.1\r\nHost: x\r\n"
            let text = try await client.exchange(
                "GET /livez \(head)\r\nGET /a \(head)\r\nGET /livez \(head)Connection: close\r\n\r\n"
            )
            let lines = text.split(whereSeparator: \.isNewline)
            let statuses = lines.filter {
                $0.hasPrefix("HTTP/1.1")
            }
            #expect(statuses == ["HTTP/1.1 200 OK", "HTTP/1.1 404 Not Found", "HTTP/1.1 200 OK"])
        }
    }

    @Test func connectionsAboveTheBoundWaitForAPlace() async throws {
        var stage = HTTPStage()
        stage.settings.maximumConnections = 2
        try await stage.whileAnswering { (client, _) async throws in
            let first = try await client.open()
            let request = "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
            try await first.send(request)
            try await eventually("the first is answered") {
                try await first.received("alive")
            }
            let second = try await client.open()
            try await second.send(request)
            try await eventually("the second is answered") {
                try await second.received("alive")
            }
            let third = try await client.open()
            try await third.send(request)
            try await Task.sleep(for: .milliseconds(200))
            #expect(try await !third.received("alive"))
            try await first.channel.close()
            try await eventually("the third is answered") {
                try await third.received("alive")
            }
        }
    }

    // MARK: TLS and the address

    @Test func withACertificateOnlyTLSIsSpoken() async throws {
        let folder = try Folder()
        try folder.write(Array(Certificates.photosInvalid.utf8), to: "certificate")
        try folder.write(Array(Certificates.photosInvalidKey.utf8), to: "key")
        var stage = HTTPStage()
        stage.settings.tlsCertificate = folder.file("certificate")
        stage.settings.tlsKey = folder.file("key")
        stage.settings.idleTimeoutMilliseconds = 3_000
        try await stage.whileAnswering { (client, _) async throws in
            var trusting = client
            trusting.tls = .makeClientConfiguration()
            trusting.tls?.trustRoots = .certificates(
                try NIOSSLCertificate.fromPEMBytes(Array(Certificates.photosInvalid.utf8)))
            #expect(try await trusting.answer("/livez").status == 200)
            #expect(
                try await !client.exchange("GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
                    .contains("alive"))
            // A handshake that does not begin is not waited for.
            #expect(try await client.exchange("") == "")
        }
    }

    @Test func certificatesThatCannotBeUsedAreToldAtTheStart() throws {
        let folder = try Folder()
        try folder.write(Array(Certificates.photosInvalid.utf8), to: "certificate")
        try folder.write(Array("nothing".utf8), to: "nothing")
        var stage = HTTPStage()
        stage.settings.tlsCertificate = folder.file("nothing")
        stage.settings.tlsKey = folder.file("nothing")
        expectFailure(stage, "http.tls_certificate", "no PEM file")
        stage.settings.tlsCertificate = folder.file("certificate")
        expectFailure(stage, "http.tls_key", "no PEM file")
        stage.settings.tlsKey = folder.file("none")
        expectFailure(stage, "http.tls_key", "no PEM file")
    }

    @Test func aPortThatIsTakenIsNamed() async throws {
        try await HTTPStage().whileAnswering { (client, _) async throws in
            let second = try HTTPStage().service(port: client.port)
            let error = await #expect(throws: HTTPService.Failure.self) { try await second.run() }
            let text = error?.description ?? ""
            #expect(text.contains("cannot listen on 127.0.0.1:\(client.port)"), "\(text)")
            #expect(text.contains("http.port"))
        }
    }

    private func expectFailure(
        _ stage: HTTPStage, _ key: String, _ text: String,
        sourceLocation: SourceLocation = #_sourceLocation
    ) {
        let error = #expect(throws: HTTPService.Failure.self, sourceLocation: sourceLocation) {
            try stage.service()
        }
        let message = error?.description ?? ""
        #expect(message.hasPrefix("\(key): "), "\(message)", sourceLocation: sourceLocation)
        #expect(message.contains(text), "\(message)", sourceLocation: sourceLocation)
        #expect(!message.contains("s3cre"), sourceLocation: sourceLocation)
    }
}
