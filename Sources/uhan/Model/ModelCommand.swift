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
        transform: { try $0.split(separator: "/").map { try parseWidths(String($0)) } })
    var blocks = VGGShape.vgg16

    func apply(to bundle: inout SeededBundle) {
        bundle.dimension = dimension
        bundle.dense = dense
        bundle.side = side
        bundle.blocks = blocks
    }
}

extension SeededBundle {
    /// Every word and every user of a file of posts.
    mutating func takeWordsAndUsers(fromPosts path: String) throws {
        var words: Set<CodePoints> = []
        var users: Set<CodePoints> = []
        for line in try LineReader(path: path) {
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
    try text.split(separator: ",").map { part in
        guard let width = Int(part), width > 0 else {
            throw ValidationError("'\(part)' is no width; give positive numbers by commas")
        }
        return width
    }
}
