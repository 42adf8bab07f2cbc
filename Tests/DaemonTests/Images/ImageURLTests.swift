import Daemon
import Testing

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

@Suite("Reading image URLs")
struct ImageURLTests {
    @Test(
        "brings what is meant into one form",
        arguments: [
            ("HTTPS://Photos.Example.COM/a/B.jpg", "https://photos.example.com/a/B.jpg"),
            ("https://photos.example.com./a.jpg", "https://photos.example.com/a.jpg"),
            ("https://photos.example.com:443", "https://photos.example.com/"),
            ("https://photos.example.com:/x", "https://photos.example.com/x"),
            ("http://h.example:8080?size=2", "http://h.example:8080/?size=2"),
            ("http://h.example/a.jpg#top", "http://h.example/a.jpg"),
            ("http://h.example/ä\"b.jpg?q=ü", "http://h.example/%C3%A4%22b.jpg?q=%C3%BC"),
            ("http://h.example/100%/%41%zz", "http://h.example/100%25/%41%25zz"),
            ("http://h.example/%4ä", "http://h.example/%254%C3%A4"),
            ("http://xn--bcher-kva.example/", "http://xn--bcher-kva.example/"),
            ("http://[2001:DB8:0::1]:81/x", "http://[2001:db8::1]:81/x"),
            ("http://127.1/", "http://127.0.0.1/"),
            ("http://2130706433/", "http://127.0.0.1/"),
            ("http://0x7f.1/", "http://127.0.0.1/"),
            ("http://0x7F000001./", "http://127.0.0.1/"),
            ("http://017700000001/", "http://127.0.0.1/"),
            ("http://0/", "http://0.0.0.0/"),
        ])
    func canonical(_ text: String, _ expected: String) throws {
        guard case .web(let url) = try ImageURL(text) else {
            Issue.record("not a web URL")
            return
        }
        #expect(url.string == expected)
    }

    @Test(
        "refuses what can be read in two ways",
        arguments: [
            ("photo.jpg", "no scheme"), ("ftp://h.example/a", "scheme"),
            ("data:image/jpeg,x", "scheme"),
            ("http:/h.example/a", "begin with"), ("http:h.example", "begin with"),
            ("http://user@h.example/", "user name"), ("http://a:b@h.example/", "user name"),
            ("http://h.example:80@10.0.0.1/", "user name"),
            ("http://good.example\\@10.0.0.1/", "backslash"),
            ("http://h.example/a\r\nHost: b", "control"),
            ("http://h.example/a b", "space"), ("http:///a", "no host name"),
            ("http://./", "no host name"),
            ("http://h..example/", "no host name"), ("http://h%2eexample/", "no host name"),
            ("http://-h.example/", "no host name"), ("http://h.example../", "no host name"),
            ("http://h.exam\u{430}ple/", "Punycode"), ("http://bücher.example/", "Punycode"),
            ("http://1.2.3.4.5/", "no IPv4"), ("http://256.1.1.1/", "no IPv4"),
            ("http://1.2.3.0x/", "no IPv4"), ("http://a.1/", "no IPv4"),
            ("http://[::1/", "no IPv6"), ("http://[127.0.0.1]/", "no IPv6"),
            ("http://[fe80::1%25lo]/", "no IPv6"),
            ("http://::1/", "no host name"),
            ("http://h.example:0/", "port"), ("http://h.example:65536/", "port"),
            ("http://h.example:+80/", "port"),
            ("http://h.example:80:80/", "port"),
            ("file:photo.jpg", "begin with"), ("file://host/a.jpg", "no host"),
            ("file://", "no host"),
            ("file:///a/../b", ".."), ("file:///a/%2e%2E/b", ".."), ("file:///a/./b", ".."),
            ("file:///a%2Fb", "encoded slash"), ("file:///a%00b", "NUL"), ("file:///a%zz", "UTF-8"),
            ("file:///a%ff", "UTF-8"), ("file:///a?b", "query"), ("file:///a#b", "query"),
        ])
    func refused(_ text: String, _ because: String) {
        let error = #expect(throws: FetchError.self) { try ImageURL(text) }
        #expect(error?.reason == .refused)
        #expect(error?.message.contains(because) == true, "\(error?.message ?? "-")")
    }

    @Test("The canonical form is read back as the same, by us and by the HTTP client's reader")
    func readersAgree() throws {
        let seeds = [
            "https://photos.example.com:8443/a/b.jpg?x=1&y=%20#z", "http://127.0.0.1/",
            "http://[::1]:80/a",
            "http://0x7f.1/..//%2e%2e/@:?/#?@", "http://a.example.:80?b@c:d/e",
        ]
        let inserted = Array("/\\@:?#[]%.0x7-_ä\u{2025}\u{ff0e}\t ;&=|^{}<>\"'`~")
        var state: UInt64 = 1
        func random(_ count: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int((state >> 33) % UInt64(count))
        }
        var accepted = 0
        for _ in 0..<20_000 {
            var text = Array(seeds[random(seeds.count)])
            for _ in 0...random(4) {
                let position = 5 + random(text.count - 5)
                if random(3) == 0 {
                    text.remove(at: position)
                } else {
                    text.insert(inserted[random(inserted.count)], at: position)
                }
            }
            guard case .web(let url) = try? ImageURL(String(text)) else { continue }
            accepted += 1
            #expect(try ImageURL(url.string) == .web(url), "\(String(text))")
            let other = URL(string: url.string)
            let host = other?.host().map {
                $0.hasPrefix("[") ? String($0.dropFirst().dropLast()) : $0
            }
            #expect(host == url.host, "\(String(text))")
            #expect(other?.port ?? url.scheme.defaultPort == url.port, "\(String(text))")
        }
        #expect(accepted > 2_000)
    }

    @Test("bounds their length")
    func tooLong() {
        let text = "http://h.example/" + String(repeating: "a", count: ImageURL.maximumLength)
        #expect(throws: FetchError.self) { try ImageURL(text) }
    }

    @Test("keeps file paths as they are on disk")
    func files() throws {
        #expect(try ImageURL("file:///photos/a%20%C3%A4.jpg") == .file(path: "/photos/a ä.jpg"))
        #expect(try ImageURL("FILE://LOCALHOST/photos/..jpg") == .file(path: "/photos/..jpg"))
    }

    @Test("never shows a query, where tokens are carried")
    func shown() throws {
        guard case .web(let url) = try ImageURL("https://h.example/p/a.jpg?signature=s3cret#x")
        else {
            Issue.record("not a web URL")
            return
        }
        #expect(url.description == "https://h.example/p/a.jpg?...")
    }

    @Test("A host pattern covers one name, or all names below one")
    func patterns() throws {
        let exact = try #require(HostPattern("Photos.Example.com."))
        let suffix = try #require(HostPattern("*.example.com"))
        #expect(exact.matches("photos.example.com"))
        #expect(!exact.matches("a.photos.example.com"))
        #expect(suffix.matches("a.b.example.com"))
        #expect(!suffix.matches("example.com"))
        #expect(!suffix.matches("badexample.com"))
        for bad in ["", "*", "*.", "a.*.com", "http://a.com", "a.com:80", "*.10.0.0.1"] {
            #expect(HostPattern(bad) == nil, "\(bad)")
        }
    }
}
