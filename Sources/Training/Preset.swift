import Model

/// Sizes that go together, by name: the backbone, the square that pictures are stretched to, and
/// the network behind it.
package struct Preset: Sendable, Equatable {
    package let name: String
    /// Output channels of the backbone's convolutions, block by block.
    package let blocks: [[Int]]
    /// Of the square, in pixels.
    package let side: Int
    /// d of the paper: width of words, users and attention.
    package let dimension: Int
    /// Widths of the two hidden dense layers.
    package let dense: [Int]
    /// Adam's.
    package let rate: Double

    /// A reduced backbone that two cores run over ten thousand pictures in minutes: 14 x 14
    /// regions of 128 channels.
    package static let small = Preset(
        name: "small", blocks: [[16, 16], [32, 32], [64, 64], [128, 128]], side: 224,
        dimension: 64, dense: [128, 128], rate: 2e-3)

    /// The paper's sizes: VGG16 at 448 pixels, 14 x 14 regions of 512 channels.
    package static let paper = Preset(
        name: "paper", blocks: VGGShape.vgg16, side: 448, dimension: 512, dense: [1024, 1024],
        rate: 1e-3)

    package static let all = [small, paper]

    package static func named(_ name: String) -> Preset? { all.first { $0.name == name } }
}
