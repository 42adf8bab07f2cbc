import Daemon
import Testing

@Suite("Addresses that requests from outside must not reach")
struct IPAddressTests {
    @Test(
        "are told by their number, first and last of each range",
        arguments: [
            ("0.0.0.0", "unspecified"), ("0.255.255.255", "unspecified"),
            ("10.0.0.0", "private"), ("10.255.255.255", "private"),
            ("100.64.0.0", "CGNAT"), ("100.100.100.200", "CGNAT"), ("100.127.255.255", "CGNAT"),
            ("127.0.0.1", "loopback"), ("127.255.255.255", "loopback"),
            ("168.63.129.16", "cloud"),
            ("169.254.0.0", "link-local"), ("169.254.169.254", "link-local"),
            ("169.254.255.255", "link-local"),
            ("172.16.0.0", "private"), ("172.31.255.255", "private"),
            ("192.0.0.192", "protocols"), ("192.0.2.1", "documentation"),
            ("192.88.99.1", "6to4"),
            ("192.168.0.0", "private"), ("192.168.255.255", "private"),
            ("198.18.0.0", "benchmarks"), ("198.19.255.255", "benchmarks"),
            ("198.51.100.7", "documentation"), ("203.0.113.7", "documentation"),
            ("224.0.0.1", "multicast"), ("239.255.255.255", "multicast"),
            ("240.0.0.0", "reserved"), ("255.255.255.254", "reserved"),
            ("255.255.255.255", "broadcast"),
            ("::", "unspecified"), ("::1", "loopback"), ("::2", "compatible"),
            ("::7f00:1", "compatible"), ("::127.0.0.1", "compatible"),
            ("::ffff:127.0.0.1", "mapped"), ("::ffff:8.8.8.8", "mapped"),
            ("::ffff:0:10.0.0.1", "translated"),
            ("64:ff9b::a00:1", "NAT64"), ("64:ff9b:1::1", "NAT64"), ("64:ff9b:2::1", "2000::/3"),
            ("100::1", "discarded"), ("100:1::1", "2000::/3"),
            ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "Teredo"), ("2001:10::1", "protocols"),
            ("2001:1ff:ffff::1", "protocols"), ("2001:db8::1", "documentation"),
            ("2002:7f00:1::", "6to4"), ("2002:808:808::1", "6to4"), ("3fff::1", "documentation"),
            ("4000::1", "2000::/3"), ("5f00::1", "2000::/3"),
            ("fc00::1", "unique local"), ("fd00:ec2::254", "unique local"),
            ("fe80::1", "link-local"), ("febf::1", "link-local"), ("fec0::1", "site-local"),
            ("ff02::1", "multicast"),
        ])
    func special(_ text: String, _ purpose: String) throws {
        let address = try #require(IPAddress(text))
        #expect(
            address.specialPurpose?.contains(purpose) == true, "\(address.specialPurpose ?? "-")")
    }

    @Test(
        "and their neighbours are ordinary",
        arguments: [
            "1.0.0.0", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0",
            "126.255.255.255", "128.0.0.0", "168.63.129.15", "169.253.255.255", "169.255.0.0",
            "172.15.255.255", "172.32.0.0", "191.255.255.255", "192.0.1.0", "192.167.255.255",
            "192.169.0.0", "198.17.255.255", "198.20.0.0", "223.255.255.255",
            "2000::1", "2001:200::1", "2001:4860:4860::8888", "2003::1", "2606:4700:4700::1111",
            "3ffe::1", "3fff:1000::1",
        ])
    func ordinary(_ text: String) throws {
        let address = try #require(IPAddress(text))
        #expect(address.specialPurpose == nil)
        #expect(address.description == text)
    }

    @Test(
        "Only the strict notation is an address",
        arguments: ["127.1", "0x7f.0.0.1", "fe80::1%lo", "1.2.3.4 ", ""])
    func strict(_ text: String) {
        #expect(IPAddress(text) == nil)
    }

    @Test("A range is an address and a prefix without bits beyond it")
    func ranges() throws {
        let range = try #require(AddressRange("10.1.0.0/16"))
        let all = try #require(AddressRange("0.0.0.0/0"))
        #expect(range.contains(try #require(IPAddress("10.1.255.255"))))
        #expect(!range.contains(try #require(IPAddress("10.2.0.0"))))
        #expect(all.contains(try #require(IPAddress("255.255.255.255"))))
        #expect(!all.contains(try #require(IPAddress("::1"))), "families do not mix")
        for bad in [
            "10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/", "10.0.0.0/8/8", "x/8", "",
        ] {
            #expect(AddressRange(bad) == nil, "\(bad)")
        }
    }
}
