import ArgumentParser
import Model

struct ModelImportBackbone: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "import-backbone",
        abstract: "Make a bundle around VGG16 weights that exist.",
        discussion: """
            Takes a torchvision or timm safetensors file unchanged (features.0.weight, ...); what \
            is in it beside the convolutions is left alone. The file is copied into the bundle, or \
            named where it lies with --link, so that bundles share it. The head is seeded and \
            untrained.

            From a .pth or Keras .h5 file, first: Scripts/convert-backbone.py

            The normalisation belongs to the weights: torchvision's and timm's want 'torchvision', \
            Keras' and Caffe's want 'caffe', the paper's authors fed raw pixels: 'raw'.

              uhan model import-backbone vgg16.safetensors --seed 1 --output model \\
                --normalization torchvision
            """)

    @Argument(help: "The safetensors file.")
    var file: String

    @Option(help: "torchvision, caffe or raw.")
    var normalization: Normalization

    @Flag(help: "Name the file where it lies instead of copying it.")
    var link = false

    @OptionGroup
    var new: NewBundleOptions

    func run() throws {
        var bundle = try new.bundle(named: "imported")
        bundle.backbone = .init(
            path: file, link: link, normalization: normalization, trained: true,
            origin: "imported from \(file.split(separator: "/").last ?? "a file")")

        let progress = Progress()
        _ = try bundle.write(
            to: new.output, workers: Workers(count: onlineCores()), progress: progress.show)
        progress.clear()
        say("made \(new.output); its head is untrained: scores mean nothing until it is trained")
    }
}

extension Normalization: ExpressibleByArgument {}
