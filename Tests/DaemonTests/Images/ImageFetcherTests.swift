import Daemon
import Dispatch
import Glibc
import NIOSSL
import Synchronization
import Testing

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

@Suite("Fetching images", .timeLimit(.minutes(1)))
struct ImageFetcherTests {
    // MARK: What comes

    @Test("An image comes as it was sent, and connections are used again")
    func plain() async throws {
        try await withServer { server, policy in
            server.on("/a.jpg?size=2", body: "JPEG bytes")
            try await withFetcher(policy) { fetcher in
                for _ in 0..<3 {
                    #expect(
                        await text(fetcher, server.url("/a.jpg?size=2")) == "JPEG bytes")
                }
            }
            #expect(server.connectionCount == 1)
            let request = try #require(server.requests.first).lowercased()
            #expect(request.contains("accept-encoding: identity"))
            #expect(request.contains("host: 127.0.0.1:\(server.port)"))
        }
    }

    @Test("A checksum, if given, must match")
    func checksum() async throws {
        try await withServer { server, policy in
            server.on("/abc", body: "abc")
            let right = "BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD"
            try await withFetcher(policy) { fetcher in
                #expect(
                    await text(fetcher, server.url("/abc"), sha256: right) == "abc")
                let wrong = await failure(
                    fetcher, server.url("/abc"), sha256: String(right.reversed()))
                #expect(wrong?.reason == .checksumMismatch)
                #expect(wrong?.isTransient == false)
                #expect(wrong?.message.contains(right.lowercased()) == true)
                let malformed = await failure(fetcher, server.url("/abc"), sha256: "abc")
                #expect(malformed?.reason == .refused)
            }
        }
    }

    @Test(
        "A status says whether another try makes sense",
        arguments: [
            ("204 No Content", false), ("206 Partial Content", false),
            ("300 Multiple Choices", false),
            ("304 Not Modified", false), ("400 Bad Request", false), ("401 Unauthorized", false),
            ("403 Forbidden", false), ("404 Not Found", false), ("408 Request Timeout", true),
            ("410 Gone", false), ("418 Teapot", false), ("425 Too Early", true),
            ("429 Too Many Requests", true), ("500 Internal Server Error", true),
            ("503 Unavailable", true),
            ("504 Gateway Timeout", true),
        ])
    func statuses(_ status: String, _ isTransient: Bool) async throws {
        try await withServer { server, policy in
            server.on(
                "/a", .send("HTTP/1.1 \(status)\r\nContent-Length: 0\r\nRetry-After: 7\r\n\r\n"))
            try await withFetcher(policy) { fetcher in
                let error = await failure(fetcher, server.url("/a"))
                #expect(error?.isTransient == isTransient)
                #expect(
                    error?.reason.rawValue == (isTransient ? "image_unavailable" : "image_refused"))
                #expect(error?.message.contains(String(status.prefix(3))) == true)
                #expect(error?.retryAfterMilliseconds == (isTransient ? 7000 : nil))
            }
        }
    }

    // MARK: How much comes

    @Test("The limit holds whatever the server says about the length")
    func sizes() async throws {
        try await withServer { server, policy in
            var policy = policy
            policy.maximumBytes = 1000
            let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            server.on("/exact", body: String(repeating: "x", count: 1000))
            server.on("/declared", .send("HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n"))
            server.on(
                "/huge", .send("HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775807\r\n\r\n"))
            server.on("/chunked", .send(chunked + "5dc\r\n"), .fill(count: 1500))
            server.on(
                "/many-chunks", .send(chunked + "258\r\n"), .fill(count: 600),
                .send("\r\n258\r\n"), .fill(count: 600), .send("\r\n0\r\n\r\n"))
            server.on(
                "/until-close", .send("HTTP/1.1 200 OK\r\n\r\n"), .fill(count: 1_000_000), .close)
            server.on(
                "/gzip", fields: ["Content-Encoding: gzip"], body: "a bomb, if anybody unpacked it")
            try await withFetcher(policy) { fetcher in
                #expect(await text(fetcher, server.url("/exact")).utf8.count == 1000)
                for path in ["/declared", "/huge", "/chunked", "/many-chunks", "/until-close"] {
                    let error = await failure(fetcher, server.url(path))
                    #expect(error?.reason == .refused, "\(path)")
                    #expect(error?.message.contains("images.maximum_bytes") == true, "\(path)")
                }
                #expect(
                    await failure(fetcher, server.url("/gzip"))?.message.contains("compressed")
                        == true)
            }
        }
    }

    @Test(
        "A body that ends early may come whole another time; a longer one is cut where it was to end"
    )
    func lies() async throws {
        try await withServer { server, policy in
            server.on("/short", .send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nxxx"), .close)
            server.on("/long", .send("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcdef"))
            server.on(
                "/negative", .send("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nabc"), .close)
            server.on("/no-http", .send("SSH-2.0-OpenSSH_9.2\r\n"))
            server.on("/silent", .close)
            server.on("/endless-head", .send("HTTP/1.1 200 OK\r\nX: "), .fill(count: 50_000_000))
            server.on(
                "/many-fields",
                .send("HTTP/1.1 200 OK\r\n" + String(repeating: "X: y\r\n", count: 100_000)))
            try await withFetcher(policy) { fetcher in
                #expect(await failure(fetcher, server.url("/short"))?.isTransient == true)
                #expect(await text(fetcher, server.url("/long")) == "abc")
                #expect(await failure(fetcher, server.url("/negative"))?.isTransient == true)
                #expect(await failure(fetcher, server.url("/no-http"))?.isTransient == true)
                #expect(await failure(fetcher, server.url("/silent"))?.isTransient == true)
                #expect(await failure(fetcher, server.url("/endless-head"))?.isTransient == true)
                #expect(await failure(fetcher, server.url("/many-fields"))?.isTransient == true)
            }
        }
    }

    @Test("A server that drips, or says nothing, is left when the time is up")
    func slow() async throws {
        try await withServer { server, policy in
            var policy = policy
            policy.totalTimeoutMilliseconds = 300
            server.on("/drip", .send("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"), .drip)
            server.on("/drip-head", .send("HTTP/1.1 200 OK\r\nX: "), .drip)
            server.on("/nothing")
            try await withFetcher(policy) { fetcher in
                for path in ["/drip", "/drip-head", "/nothing"] {
                    let error = await failure(fetcher, server.url(path))
                    #expect(error?.isTransient == true, "\(path)")
                    #expect(
                        error?.message.contains("total_timeout_milliseconds): 300 ms") == true,
                        "\(error?.message ?? "-")")
                }
            }
        }
    }

    @Test("Nobody listening is transient")
    func refusedConnection() async throws {
        let server = try await ScriptedServer.start()
        let url = server.url("/a")
        let policy = policy(for: server)
        await server.stop()
        try await withFetcher(policy) { fetcher in
            let error = await failure(fetcher, url)
            #expect(error?.isTransient == true)
            #expect(error?.message.contains("127.0.0.1") == true)
        }
    }

    // MARK: Where it comes from

    @Test(
        "Forbidden addresses are refused in every notation, before anything is sent",
        arguments: [
            "127.0.0.1", "127.1", "2130706433", "0x7f.1", "0177.0.0.1", "[::1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]", "0.0.0.0", "0", "localhost", "LOCALHOST.", "169.254.169.254",
            "[fd00:ec2::254]",
        ])
    func forbidden(_ host: String) async throws {
        try await withServer { server, policy in
            var policy = policy
            policy.allowedPrivateRanges = []
            try await withFetcher(policy) { fetcher in
                let error = await failure(fetcher, "http://\(host):\(server.port)/a")
                #expect(error?.reason == .refused, "\(error?.message ?? "-")")
                #expect(
                    error?.message.contains("images.allow_private") == true,
                    "\(error?.message ?? "-")")
            }
            #expect(server.connectionCount == 0)
        }
    }

    @Test("Schemes, hosts and ports outside the policy are refused")
    func policyLists() async throws {
        try await withServer { server, policy in
            server.on("/a", body: "a")
            var policy = policy
            policy.hosts = [try #require(HostPattern("*.photos.invalid"))]
            try await withFetcher(policy, resolver: { _ in [.allowed] }) { fetcher in
                #expect(
                    await text(fetcher, "http://cdn.photos.invalid:\(server.port)/a") == "a")
                let host = await failure(fetcher, "http://photos.invalid:\(server.port)/a")
                #expect(host?.message.contains("images.hosts: *.photos.invalid") == true)
                let port = await failure(fetcher, "http://cdn.photos.invalid:22/a")
                #expect(port?.message.contains("images.ports") == true)
                let file = await failure(fetcher, "file:///etc/passwd")
                #expect(file?.message.contains("images.schemes") == true)
            }
            policy.schemes = [.https]
            try await withFetcher(policy, resolver: { _ in [.allowed] }) { fetcher in
                let scheme = await failure(fetcher, "http://cdn.photos.invalid:\(server.port)/a")
                #expect(scheme?.message.contains("images.schemes: https") == true)
            }
        }
    }

    @Test("The connection goes to the address that was checked; the name is only sent along")
    func pinned() async throws {
        try await withServer { server, policy in
            server.on("/a", body: "a")
            // .invalid resolves nowhere: only our resolver's answer can have led to the server.
            try await withFetcher(policy, resolver: { _ in [.allowed] }) { fetcher in
                let url = "http://Photos.Invalid.:\(server.port)/a"
                #expect(await text(fetcher, url) == "a")
            }
            #expect(
                server.requests.first?.lowercased().contains("host: photos.invalid:\(server.port)")
                    == true)
        }
    }

    @Test("A name that resolves to another place the second time (DNS rebinding) is refused then")
    func rebinding() async throws {
        try await withTwoServers { allowed, forbidden, policy in
            allowed.on("/a", body: "a")
            let answers = Mutex<[[IPAddress]]>([[.allowed], [.forbidden]])
            let resolver: HostResolver = { _ in answers.withLock { $0.removeFirst() } }
            try await withFetcher(policy, resolver: resolver) { fetcher in
                let url = "http://photos.invalid:\(allowed.port)/a"
                #expect(await text(fetcher, url) == "a")
                #expect(await failure(fetcher, url)?.reason == .refused)
            }
            #expect(allowed.connectionCount == 1)
            #expect(forbidden.connectionCount == 0)
        }
    }

    @Test("Of mixed answers only permitted addresses are used, also if they fail")
    func mixed() async throws {
        try await withTwoServers { allowed, forbidden, policy in
            allowed.on("/a", body: "a")
            let both: HostResolver = { _ in [.forbidden, .allowed, .forbidden] }
            try await withFetcher(policy, resolver: both) { fetcher in
                let url = "http://photos.invalid:\(allowed.port)/a"
                #expect(await text(fetcher, url) == "a")
                await allowed.stop()
                allowed.on("/b", .close)
                #expect(await failure(fetcher, "http://photos.invalid:\(allowed.port)/b") != nil)
            }
            #expect(forbidden.connectionCount == 0)
        }
    }

    @Test("If the first address does not answer, the next is tried")
    func nextAddress() async throws {
        try await withServer { server, policy in
            var policy = policy
            policy.allowedPrivateRanges = [try #require(AddressRange("127.0.0.0/8"))]
            server.on("/a", body: "a")
            try await withFetcher(policy, resolver: { _ in [.forbidden, .allowed] }) { fetcher in
                let url = "http://photos.invalid:\(server.port)/a"
                #expect(await text(fetcher, url) == "a")
            }
        }
    }

    @Test("Names: unknown is final, a silent or failing resolver is not")
    func resolution() async throws {
        try await withServer { _, policy in
            var policy = policy
            policy.ports = [80]
            policy.connectTimeoutMilliseconds = 100
            let url = "http://photos.invalid/a"
            try await withFetcher(policy, resolver: { _ in [] }) { fetcher in
                #expect(await failure(fetcher, url)?.reason == .refused)
            }
            try await withFetcher(
                policy,
                resolver: { _ throws(FetchError) in throw FetchError(.unavailable, "servers failed")
                }
            ) { fetcher in
                #expect(await failure(fetcher, url)?.isTransient == true)
            }
            let hang: HostResolver = { _ in
                usleep(1_000_000)
                return [.allowed]
            }
            try await withFetcher(policy, resolver: hang) { fetcher in
                let error = await failure(fetcher, url)
                #expect(error?.isTransient == true)
                #expect(error?.message.contains("not resolved in time") == true)
            }
        }
    }

    @Test("The system's resolver knows localhost by its addresses")
    func systemResolver() throws {
        let addresses = try resolveWithSystem("localhost")
        #expect(!addresses.isEmpty)
        #expect(addresses.allSatisfy { $0.specialPurpose == "loopback" })
    }

    // MARK: Redirects

    @Test("Redirects are followed by our rules, each hop checked anew")
    func redirects() async throws {
        try await withTwoServers { allowed, forbidden, policy in
            let port = allowed.port
            allowed.on("/end", body: "end")
            allowed.on("/x/end2", body: "end2")
            allowed.redirect("/absolute", to: "http://127.0.0.1:\(port)/end", status: "301 Moved")
            allowed.redirect("/path", to: "/end", status: "307 Temporary Redirect")
            allowed.redirect("/x/relative", to: "end2", status: "308 Permanent Redirect")
            allowed.redirect(
                "/protocol", to: "//127.0.0.1:\(port)/end#fragment", status: "303 See Other")
            allowed.redirect("/two", to: "/path")
            try await withFetcher(policy) { fetcher in
                for path in ["/absolute", "/path", "/protocol", "/two"] {
                    #expect(
                        await text(fetcher, allowed.url(path)) == "end", "\(path)")
                }
                #expect(await text(fetcher, allowed.url("/x/relative")) == "end2")
            }

            let traps = [
                "http://127.0.0.2:\(port)/", "http://0x7f000002:\(port)/", "//127.0.0.2:\(port)/",
                "http://[::ffff:127.0.0.2]:\(port)/", "http://169.254.169.254/latest/meta-data",
                "http://localtest.invalid:\(port)/", "http://127.0.0.1:22/",
                "http://u:p@127.0.0.1:\(port)/end",
                "file:///etc/passwd", "file://localhost/etc/passwd", "gopher://127.0.0.1/",
                "javascript:1", "",
                "http://", "\\\\127.0.0.2\\", "http://127.0.0.1:\(port)\\@127.0.0.2/",
            ]
            var trapPolicy = policy
            trapPolicy.schemes.append(.file)
            trapPolicy.fileRoots = ["/etc"]
            trapPolicy.ports.append(80)
            try await withFetcher(trapPolicy, resolver: { _ in [.forbidden] }) { fetcher in
                for (index, trap) in traps.enumerated() {
                    allowed.redirect("/trap\(index)", to: trap)
                    let error = await failure(fetcher, allowed.url("/trap\(index)"))
                    #expect(error?.reason == .refused, "\(trap): \(error?.message ?? "-")")
                }
            }
            #expect(forbidden.connectionCount == 0)
        }
    }

    @Test("Loops end, and a redirect without a target is final")
    func loops() async throws {
        try await withServer { server, policy in
            server.redirect("/loop", to: "/loop")
            server.on("/nowhere", status: "302 Found", body: "")
            try await withFetcher(policy) { fetcher in
                let loop = await failure(fetcher, server.url("/loop"))
                #expect(loop?.reason == .refused)
                #expect(loop?.message.contains("images.maximum_redirects") == true)
                #expect(server.requests.count == policy.maximumRedirects + 1)
                #expect(await failure(fetcher, server.url("/nowhere"))?.reason == .refused)
            }
        }
    }

    @Test("A token in the query never shows in an error")
    func secrets() async throws {
        try await withServer { server, policy in
            server.redirect("/moved?token=s3cret", to: "http://10.0.0.1/a?token=s3cret")
            try await withFetcher(policy) { fetcher in
                for path in ["/gone?token=s3cret", "/moved?token=s3cret"] {
                    let error = await failure(fetcher, server.url(path))
                    #expect(
                        error?.description.contains("s3cret") == false,
                        "\(error?.description ?? "-")")
                }
            }
        }
    }

    // MARK: TLS

    @Test("https checks the certificate against the name, though it connects to an address")
    func tls() async throws {
        let certificate = try NIOSSLCertificate(
            bytes: Array(Certificates.photosInvalid.utf8), format: .pem)
        let key = try NIOSSLPrivateKey(
            bytes: Array(Certificates.photosInvalidKey.utf8), format: .pem)
        let context = try NIOSSLContext(
            configuration: .makeServerConfiguration(
                certificateChain: [.certificate(certificate)], privateKey: .privateKey(key)))
        let server = try await ScriptedServer.start(tls: context)
        server.on("/a", body: "a")
        server.redirect("/down", to: "http://photos.invalid:\(server.port)/a")
        let policy = policy(for: server)
        let base = "https://photos.invalid:\(server.port)"

        try await withFetcher(
            policy, resolver: { _ in [.allowed] }, trustRoots: .certificates([certificate])
        ) { fetcher in
            #expect(await text(fetcher, base + "/a") == "a")
            let wrongName = await failure(fetcher, "https://other.invalid:\(server.port)/a")
            #expect(wrongName?.reason == .refused, "\(wrongName?.message ?? "-")")
            #expect(
                wrongName?.message.contains("another host name") == true,
                "\(wrongName?.message ?? "-")")
            let byAddress = await failure(fetcher, "https://127.0.0.1:\(server.port)/a")
            #expect(byAddress?.reason == .refused, "\(byAddress?.message ?? "-")")
            let downgrade = await failure(fetcher, base + "/down")
            #expect(downgrade?.message.contains("from https to http://") == true)
        }
        try await withFetcher(policy, resolver: { _ in [.allowed] }) { fetcher in
            let untrusted = await failure(fetcher, base + "/a")
            #expect(untrusted?.reason == .refused, "\(untrusted?.message ?? "-")")
            #expect(
                untrusted?.message.contains("not trusted") == true, "\(untrusted?.message ?? "-")")
        }
        await server.stop()
    }

    // MARK: Files

    @Test("Files are read below the allowed folders and nowhere else")
    func files() async throws {
        let folder = try ImageFolder()
        let root = folder.path + "/photos"
        let outside = folder.path + "/photos-private"
        try folder.makeDirectory("photos")
        try folder.makeDirectory("photos/sub")
        try folder.makeDirectory("photos-private")
        try folder.write("photos/a ä.jpg", "a")
        try folder.write("photos/large", String(repeating: "x", count: 101))
        try folder.write("photos-private/secret", "secret")
        #expect(symlink("../a ä.jpg", root + "/sub/inside") == 0)
        #expect(symlink(outside + "/secret", root + "/escape") == 0)
        #expect(symlink(outside, root + "/escape-folder") == 0)
        #expect(symlink("loop", root + "/loop") == 0)
        #expect(symlink(root, folder.path + "/alias") == 0)
        #expect(mkfifo(root + "/fifo", 0o600) == 0)

        let policy = FetchPolicy(
            schemes: [.file], fileRoots: [folder.path + "/missing", folder.path + "/alias"],
            maximumBytes: 100)
        try await withFetcher(policy) { fetcher in
            for path in ["/photos/a%20%C3%A4.jpg", "/photos/sub/inside", "/alias/a%20ä.jpg"] {
                #expect(
                    await text(fetcher, "file://" + folder.path + path) == "a",
                    "\(path)")
            }
            let refusals = [
                ("/photos/escape", "allowed folder"),
                ("/photos/escape-folder/secret", "allowed folder"),
                ("/photos-private/secret", "allowed folder"),
                ("/photos/../photos-private/secret", ".."),
                ("/photos/%2e%2e/photos-private/secret", ".."),
                ("/photos/..%2fphotos-private/secret", "slash"),
                ("/photos/fifo", "regular file"), ("/photos/sub", "regular file"),
                ("/photos", "allowed folder"),
                ("/photos/large", "images.maximum_bytes"), ("/photos/none", "No such file"),
                ("/photos/loop", "cannot be opened"),
            ]
            for (path, because) in refusals {
                let error = await failure(fetcher, "file://" + folder.path + path)
                #expect(error?.reason == .refused, "\(path)")
                #expect(
                    error?.message.contains(because) == true, "\(path): \(error?.message ?? "-")")
            }
            for device in ["/dev/zero", "/proc/self/environ", "/etc/passwd"] {
                #expect(await failure(fetcher, "file://" + device)?.reason == .refused)
            }
        }
        var everything = policy
        everything.fileRoots = ["/"]
        try await withFetcher(everything) { fetcher in
            #expect(
                await failure(fetcher, "file:///dev/zero")?.message.contains("regular file") == true
            )
        }
    }

    // MARK: Many at once

    @Test("No more fetches run at once than allowed; those that wait are served in turn")
    func concurrency() async throws {
        try await withServer { server, policy in
            var policy = policy
            policy.maximumConcurrentFetches = 2
            let running = Mutex((now: 0, most: 0))
            let resolver: HostResolver = { _ in
                running.withLock {
                    $0.now += 1
                    $0.most = max($0.most, $0.now)
                }
                usleep(10_000)
                running.withLock { $0.now -= 1 }
                return [.allowed]
            }
            server.on("/a", body: "a")
            try await withFetcher(policy, resolver: resolver) { fetcher in
                await withTaskGroup { group in
                    for index in 0..<40 {
                        group.addTask {
                            await text(fetcher, "http://h\(index).invalid:\(server.port)/a")
                        }
                    }
                    for await text in group { #expect(text == "a") }
                }
            }
            #expect(running.withLock { $0.most } == 2)
            #expect(server.requests.count == 40)
        }
    }

    @Test("What a caller has left covers the wait for its turn, too")
    func callersTimeout() async throws {
        try await withServer { server, policy in
            var policy = policy
            policy.maximumConcurrentFetches = 1
            server.on("/nothing")
            try await withFetcher(policy) { fetcher in
                let first = Task { await failure(fetcher, server.url("/nothing")) }
                while server.requests.isEmpty { try await Task.sleep(for: .milliseconds(5)) }
                do throws(FetchError) {
                    _ = try await fetcher.fetch(server.url("/a"), timeoutMilliseconds: 50)
                    Issue.record("it came, but should not")
                } catch {
                    #expect(error.isTransient)
                    #expect(error.message.contains("the post's time: 50 ms"))
                }
                first.cancel()
                _ = await first.value
            }
            #expect(server.requests.count == 1)
        }
    }

    @Test("Cancelling ends a fetch in flight, and one that waits for its turn")
    func cancellation() async throws {
        try await withServer { server, policy in
            var policy = policy
            policy.maximumConcurrentFetches = 1
            server.on("/nothing")
            server.on("/a", body: "a")
            try await withFetcher(policy) { fetcher in
                let first = Task { await failure(fetcher, server.url("/nothing")) }
                while server.requests.isEmpty { try await Task.sleep(for: .milliseconds(5)) }
                let second = Task { await failure(fetcher, server.url("/a")) }
                second.cancel()
                #expect(await second.value?.message.contains("cancelled") == true)
                first.cancel()
                #expect(await first.value?.message.contains("cancelled") == true)
                #expect(
                    await text(fetcher, server.url("/a")) == "a",
                    "the slot is free again")
            }
        }
    }

    @Test(
        "Shutdown ends fetches in flight as transient, waits for no hanging look-up, and starts nothing new"
    )
    func shutdown() async throws {
        try await withServer { server, policy in
            server.on("/nothing")
            let lookUp = DispatchSemaphore(value: 0)
            let resolver: HostResolver = { _ in
                lookUp.wait()
                return []
            }
            let fetcher = ImageFetcher(policy: policy, resolver: resolver)
            let lost = Task { await failure(fetcher, "http://photos.invalid:\(server.port)/a") }
            let inFlight = Task { await failure(fetcher, server.url("/nothing")) }
            while server.requests.isEmpty { try await Task.sleep(for: .milliseconds(5)) }
            await fetcher.shutdown()
            #expect(await inFlight.value?.isTransient == true)
            lookUp.signal()
            #expect(await lost.value != nil)
            #expect(await failure(fetcher, server.url("/nothing"))?.isTransient == true)
            #expect(server.connectionCount == 1)
        }
    }
}

// MARK: -

extension IPAddress {
    fileprivate static let allowed = IPAddress(family: .v4, bits: 0x7f00_0001)
    fileprivate static let forbidden = IPAddress(family: .v4, bits: 0x7f00_0002)
}

extension ScriptedServer {
    fileprivate func url(_ target: String) -> String { "http://127.0.0.1:\(port)\(target)" }
}

/// Allows the server's own address and port, and nothing else that is private.
private func policy(for server: ScriptedServer) -> FetchPolicy {
    FetchPolicy(
        ports: [server.port],
        allowedPrivateRanges: ["127.0.0.1/32"].compactMap(AddressRange.init),
        maximumBytes: 1 << 20,
        totalTimeoutMilliseconds: 20_000)
}

private func withServer(_ body: (ScriptedServer, FetchPolicy) async throws -> Void) async throws {
    let server = try await ScriptedServer.start()
    try await body(server, policy(for: server))
    await server.stop()
}

/// Two servers on one port: 127.0.0.1, which the policy allows, and 127.0.0.2, which it does not.
private func withTwoServers(
    _ body: (_ allowed: ScriptedServer, _ forbidden: ScriptedServer, FetchPolicy) async throws ->
        Void
) async throws {
    let allowed = try await ScriptedServer.start()
    let forbidden = try await ScriptedServer.start(on: "127.0.0.2", port: allowed.port)
    try await body(allowed, forbidden, policy(for: allowed))
    await allowed.stop()
    await forbidden.stop()
}

private func withFetcher(
    _ policy: FetchPolicy, resolver: @escaping HostResolver = resolveWithSystem,
    trustRoots: NIOSSLTrustRoots = .default, _ body: (ImageFetcher) async throws -> Void
) async throws {
    let fetcher = ImageFetcher(policy: policy, resolver: resolver, trustRoots: trustRoots)
    do {
        try await body(fetcher)
        await fetcher.shutdown()
    } catch {
        await fetcher.shutdown()
        throw error
    }
}

/// The image as text, or the error that came instead.
private func text(_ fetcher: ImageFetcher, _ url: String, sha256: String? = nil) async -> String {
    do {
        return String(decoding: try await fetcher.fetch(url, expectedSHA256: sha256), as: UTF8.self)
    } catch {
        return "\(error)"
    }
}

private func failure(_ fetcher: ImageFetcher, _ url: String, sha256: String? = nil) async
    -> FetchError?
{
    do {
        _ = try await fetcher.fetch(url, expectedSHA256: sha256)
        Issue.record("\(url) came, but should not")
        return nil
    } catch {
        return error
    }
}

/// A folder that goes away with the test.
final class ImageFolder {
    let path: String

    init() throws {
        var template = Array("/tmp/uhan-test-XXXXXX".utf8CString)
        path = String(cString: try #require(mkdtemp(&template)))
    }

    func makeDirectory(_ name: String) throws {
        try #require(mkdir(path + "/" + name, 0o700) == 0)
    }

    func write(_ name: String, _ text: String) throws {
        let file = try #require(fopen(path + "/" + name, "w"))
        fputs(text, file)
        fclose(file)
    }

    deinit {
        try? FileManager.default.removeItem(atPath: path)
    }
}
