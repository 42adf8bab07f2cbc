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
        func require(_ holds: Bool, _ text: String) throws {
            if !holds { throw ValidationError(text) }
        }
        try require((1...4096).contains(dimension), "--dimension must be in 1...4096")
        try require(
            dense.count == 2 && dense.allSatisfy { (1...8192).contains($0) },
            "--dense must be two widths in 1...8192, as in 1024,1024")
        try require(
            (1...8).contains(blocks.count)
                && blocks.allSatisfy { block in
                    (1...8).contains(block.count) && block.allSatisfy { (1...1024).contains($0) }
                },
            "--blocks must be 1 to 8 blocks of 1 to 8 widths in 1...1024")
        let factor = 1 << blocks.count
        try require(
            (1...1024).contains(side) && side % factor == 0,
            "--side must be at most 1024 and a multiple of \(factor) (each block halves it)")
    }

    func apply(to bundle: inout SeededBundle) {
        bundle.dimension = dimension
        bundle.dense = dense
        bundle.side = side
        bundle.blocks = blocks
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
