import Model
import Pipeline
import Testing

@Suite struct Base64Tests {
    @Test(arguments: [
        ("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="),
        ("fooba", "Zm9vYmE="), ("foobar", "Zm9vYmFy"),
    ])
    func agreesWithTheVectorsOfRFC4648(_ plain: String, _ coded: String) throws {
        #expect(Base64.encode(Array(plain.utf8)) == coded)
        #expect(try Base64.decode(coded) == Array(plain.utf8))
    }

    @Test func returnsEveryByteString() throws {
        var generator = SplitMix64(seed: 1)
        for count in 0..<200 {
            let bytes = (0..<count).map { _ in UInt8(truncatingIfNeeded: generator.next()) }
            #expect(try Base64.decode(Base64.encode(bytes)) == bytes)
        }
        #expect(try Base64.decode("+/+/") == [0xFB, 0xFF, 0xBF])
    }

    @Test(arguments: [
        ("Zm9", "3 characters"),
        ("Zm9v\nYmFy", "byte 0xA at character 4"),
        ("Zm9v YmFy", "byte 0x20 at character 4"),
        ("_-9v", "'_' at character 0"),
        ("Zg=v", "'=' at character 2"),
        ("Z===", "'=' at character 1"),
        ("====", "'=' at character 0"),
        ("Zg==Zg==", "'=' at character 2"),
        ("Zh==", "a last character whose unused bits are not zero"),
        ("Zm9=", "a last character whose unused bits are not zero"),
        ("data:image/jpeg;base64,Zm9v", "a data: URL"),
        ("Zm9é", "byte 0xC3 at character 3"),
    ])
    func refuses(_ text: String, saying found: String) {
        #expect {
            try Base64.decode(text)
        } throws: { error in
            (error as? JSONError)?.found == found
        }
    }

    @Test func findsOneWrongCharacterAnywhere() {
        let coded = Array(Base64.encode(Array(0..<120)).utf8)
        for index in coded.indices {
            var wrong = coded
            wrong[index] = UInt8(ascii: "*")
            #expect(throws: JSONError.self) {
                try Base64.decode(String(decoding: wrong, as: UTF8.self))
            }
        }
    }
}
