import ArgumentParser
import Model
import Pipeline

struct ModelCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "model",
        abstract: "Make and look at model bundles.",
        discussion: """
            A bundle is a folder: config.json, weights as .safetensors, vocabulary.txt, users.txt. \
            config.json names every file's SHA-256, so a changed or half-copied file is found on \
            loading.

              uhan model init --seed 1 --output model
              uhan model inspect model
            """,
        subcommands: [ModelInit.self, ModelInspect.self, ModelImportBackbone.self])
}

/// Options that give the size of a new model.
struct SizeOptions: ParsableArguments {
    @Option(help: "d of the paper: width of words, users and attention.")
    var dimension = 512

    @Option(help: "Widths of the two hidden dense layers.", transform: parseWidths)
    var dense = [1024, 1024]

    @Option(help: "Side of the square that pictures are stretched to, in pixels.")
    var side = 448

    @Option(
        help: """
            Output channels of the backbone's convolutions: layers by commas, blocks by slashes. \
            VGG16: 64,64/128,128/256,256,256/512,512,512/512,512,512.
            """,
        transform: {
            try $0.split(separator: "/", omittingEmptySubsequences: false)
                .map { try parseWidths(String($0)) }
        })
    var blocks = VGGShape.vgg16

    /// The bounds of a bundle's config.json, before anything is computed or allocated.
    func validate() throws {
        typealias Bounds = BundleConfiguration.Bounds
        func require(_ holds: Bool, _ text: String) throws {
            if !holds { throw ValidationError(text) }
        }
        try require(
            Bounds.dimension.contains(dimension), "--dimension must be in \(Bounds.dimension)")
        try require(
            dense.count == 2 && dense.allSatisfy(Bounds.denseWidth.contains),
            "--dense must be two widths in \(Bounds.denseWidth), as in 1024,1024")
        try require(
            BundleConfiguration.areUsable(blocks),
            "--blocks must be \(Bounds.blocks) blocks of \(Bounds.layersOfBlock) widths in "
                + "\(Bounds.channels)")
        let factor = 1 << blocks.count
        try require(
            Bounds.side.contains(side) && side % factor == 0,
            "--side must be at most \(Bounds.side.upperBound) and a multiple of \(factor) "
                + "(each block halves it)")
    }

}

/// Options of every command that makes a bundle.
struct NewBundleOptions: ParsableArguments {
    @Option(help: "The seed of the weights that are not given: a number from 0.")
    var seed: UInt64

    @Option(help: "The folder to make.")
    var output: String

    @Option(help: "Take vocabulary and users from this file of posts (JSON lines).")
    var posts: String?

    @Option(help: "A name for the model; its version is the name and a checksum.")
    var name: String?

    @OptionGroup(title: "Sizes")
    var size: SizeOptions

    func bundle(named usual: String) throws -> SeededBundle {
        var bundle = SeededBundle(seed: seed)
        bundle.name = name ?? usual
        bundle.dimension = size.dimension
        bundle.dense = size.dense
        bundle.side = size.side
        bundle.blocks = size.blocks
        if let posts { try bundle.takeWordsAndUsers(fromPosts: posts) }
        return bundle
    }
}

/// Loads a bundle; where there is none, says how to make one.
func openModel(_ folder: String) throws -> ModelBundle {
    do {
        return try ModelBundle(folder: folder)
    } catch {
        guard case .unreadable(let path, let reason) = error, path == "\(folder)/config.json" else {
            throw error
        }
        throw CommandError(
            "no model bundle in \(folder) (config.json: \(reason)); "
                + "'uhan model init --seed 1 --output \(folder)' makes one to try things out")
    }
}

extension SeededBundle {
    /// Every word and every user of a file of posts.
    mutating func takeWordsAndUsers(fromPosts path: String) throws {
        var words: Set<CodePoints> = []
        var users: Set<CodePoints> = []
        let lines = try LineReader(path: path)
        while let line = try lines.next() {
            do {
                let post = try PostEvent(parsing: line.bytes, from: .file)
                let text = "\(post.title) \(post.tags) \(post.description)"
                words.formUnion(Tokenizer.words(text).map(CodePoints.init))
                users.insert(CodePoints(post.uid))
            } catch {
                throw CommandError("\(path), line \(line.number): \(error)")
            }
        }
        self.words = words.map(\.string).sorted()
        self.users = users.map(\.string).sorted()
    }
}

func parseWidths(_ text: String) throws -> [Int] {
    try text.split(separator: ",", omittingEmptySubsequences: false).map { part in
        guard let width = Int(part), width > 0 else {
            throw ValidationError("'\(part)' is no width; give positive numbers by commas")
        }
        return width
    }
}
