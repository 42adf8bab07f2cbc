import Gallery
import Model
import Testing

@Suite struct GalleryPictureTests {
    private let pictures = (0..<400).compactMap { Gallery(seed: 1, posts: 400).post($0).picture }

    @Test func thingsAreSmallInsideAndApart() throws {
        #expect(pictures.count > 360)
        for picture in pictures {
            #expect((2...3).contains(picture.objects.count))
            #expect(Set(picture.objects.map(\.kind)).count == picture.objects.count)
            #expect(Set(picture.objects.map(\.color)).count == picture.objects.count)
            for object in picture.objects {
                let box = object.box
                #expect(box.left >= 0 && box.top >= 0)
                #expect(box.right <= picture.width && box.bottom <= picture.height)
                let area = box.width * box.height
                #expect(20 * area <= picture.width * picture.height)
                // Large enough to be seen: about 8 of 14 x 14 regions.
                #expect(25 * area > picture.width * picture.height)
                for other in picture.objects where other != object {
                    let across = min(box.right, other.box.right) - max(box.left, other.box.left)
                    let down = min(box.bottom, other.box.bottom) - max(box.top, other.box.top)
                    #expect(across <= 0 || down <= 0)
                }
            }
        }
        for count in 2...3 { #expect(pictures.count { $0.objects.count == count } > 80) }
    }

    @Test func everyKindAndColourIsAboutAsFrequent() {
        let objects = pictures.flatMap(\.objects)
        for kind in GalleryKind.allCases {
            let share = Double(objects.count { $0.kind == kind }) / Double(objects.count)
            #expect((0.2...0.3).contains(share))
        }
        for color in GalleryColor.allCases {
            let share = Double(objects.count { $0.color == color }) / Double(objects.count)
            #expect((0.2...0.3).contains(share))
        }
    }

    @Test func nothingIsPaintedOutsideTheBoxes() {
        for picture in pictures.prefix(30) {
            let (bare, full) = (picture.landscape(), picture.render())
            for y in 0..<picture.height {
                for x in 0..<picture.width {
                    let start = 3 * (y * picture.width + x)
                    let isChanged = bare.rgb[start..<start + 3] != full.rgb[start..<start + 3]
                    let isInABox = picture.objects.contains {
                        ($0.box.left..<$0.box.right).contains(x)
                            && ($0.box.top..<$0.box.bottom).contains(y)
                    }
                    if isChanged && !isInABox { Issue.record("painted at \(x), \(y)") }
                }
            }
        }
    }

    @Test func aBoxIsFullOfItsThingsColour() {
        for picture in pictures.prefix(100) {
            let pixels = picture.render()
            for object in picture.objects {
                let box = object.box
                var inColor = 0
                for y in box.top..<box.bottom {
                    for x in box.left..<box.right {
                        let start = 3 * (y * picture.width + x)
                        let rgb = pixels.rgb[start..<start + 3].map(Int.init)
                        inColor += rgb == object.color.rgb ? 1 : 0
                    }
                }
                #expect(10 * inColor > 2 * box.width * box.height, "\(object)")
            }
        }
    }
}
