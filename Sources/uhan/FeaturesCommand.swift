import ArgumentParser
import Glibc
import Model
import Training

struct FeaturesCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "features",
        abstract: "Run the backbone over every image of a dataset, once.",
        discussion: """
            Training needs the features of an image many times and the backbone's work once. They \
            are kept as float32 under the SHA-256 of the image's bytes, so an image that several \
            datasets share is computed once, too: give the same --output.

            Ended in between (Ctrl-C, or a kill), the same command goes on where it was. Images \
            that cannot be decoded are listed in failures.jsonl there, and not tried anew.

            --backbone is 'small' or 'paper' (a preset, with weights from --seed; the file \
            backbone.safetensors there has them), or the folder of a model bundle, whose backbone \
            is then used.

              uhan features --data data --backbone small --output features
              uhan features --data data --backbone model --output features
            """)

    @Option(help: "The prepared dataset's folder.")
    var data: String

    @Option(help: "small, paper, or the folder of a model bundle.")
    var backbone: String

    @Option(help: "The seed of the weights of small and paper: a number from 0.")
    var seed: UInt64 = 1

    @Option(help: "The folder of the features; made, or gone on with.")
    var output: String

    @Option(help: "The folder that the images lie in. (default: where they lay when prepared)")
    var images: String?

    @Option(help: "Threads to compute with.")
    var threads = onlineCores()

    func validate() throws {
        if threads < 1 { throw ValidationError("--threads must be at least 1") }
    }

    private struct Summary: Encodable {
        let folder: String
        let identity: FeatureIdentity
        let dataset: String
        /// Distinct images of the dataset; of them those with features, and those not to be decoded.
        let images: Int
        let present: Int
        let undecodable: Int
        /// What this run did: computed, could not read, did not come to.
        let computed: Int
        let unreadable: Int
        let left: Int
        let seconds: Double
    }

    /// An image with its pixels; or why there are none.
    private struct ReadImage: Sendable {
        let sha256: String
        let path: String
        let content: Result<Pixels, Failure>

        enum Failure: Error {
            /// The bytes are no picture, now and for ever.
            case undecodable(String)
            /// The file is gone, has changed, or there was no memory: worth another try.
            case unreadable(String)
        }
    }

    func run() throws {
        let dataset = try PreparedDataset(folder: data)
        let imagesFolder = images ?? dataset.imagesFolder
        let progress = Progress()
        let workers = Workers(count: threads)
        let backbone = try openBackbone(workers, progress)
        let writer = try FeatureWriter(
            folder: output, identity: backbone.identity, origin: backbone.origin)
        if writer.bytesCut > 0 {
            say("\(writer.bytesCut) bytes of a torn or damaged end were cut off; it is made anew")
        }
        let interruption = Interruption()
        let all = dataset.distinctImages()
        let missing = all.filter { !writer.isDone($0.sha256) }
        say(
            "\(all.count) images, \(all.count - missing.count) of them done before, "
                + "\(missing.count) to do")

        var rest = missing.makeIterator()
        let side = backbone.identity.side
        let ahead = ReadAhead(maximum: Self.maximumAhead) {
            rest.next().map { Self.read($0.path, sha256: $0.sha256, in: imagesFolder, side: side) }
        }
        let start = monotonicNanoseconds()
        func seconds() -> Double { Double(monotonicNanoseconds() - start) / 1e9 }
        var (computed, undecodable, unreadable) = (0, 0, 0)
        while !interruption.hasCome, let image = try ahead.next() {
            switch image.content {
            case .success(let pixels):
                try writer.append(backbone.features(pixels), ofImage: image.sha256)
                computed += 1
            case .failure(.undecodable(let reason)):
                say("\(image.path): \(reason)")
                try writer.fail(.init(sha256: image.sha256, image: image.path, reason: reason))
                undecodable += 1
            case .failure(.unreadable(let reason)):
                say("\(image.path): \(reason)")
                unreadable += 1
            }
            let done = computed + undecodable + unreadable
            progress.show(Self.progress(done, of: missing.count, seconds: seconds()))
        }
        try writer.sync()
        progress.clear()

        let left = missing.count - computed - undecodable - unreadable
        let pace = computed > 0 ? ", \(rounded(Double(computed) / seconds(), 1)) a second" : ""
        say(
            "\(computed) computed in \(rounded(seconds(), 1)) s\(pace); \(undecodable) cannot be "
                + "decoded, \(unreadable) cannot be read")
        try printJSON(
            Summary(
                folder: output, identity: backbone.identity, dataset: dataset.version,
                images: all.count,
                present: all.count { writer.has($0.sha256) },
                undecodable: all.count { writer.failures[$0.sha256] != nil }, computed: computed,
                unreadable: unreadable, left: left, seconds: seconds()))
        if left > 0 {
            say("ended with \(left) images left; the same command goes on with them")
            throw ExitCode(Interruption.exitCode)
        }
        if unreadable > 0 {
            say("put back the images that cannot be read, or prepare the dataset anew")
            throw ExitCode.failure
        }
    }

    private func openBackbone(_ workers: Workers, _ progress: Progress) throws -> FeatureBackbone {
        if let preset = Preset.named(backbone) {
            let made = try FeatureBackbone.seeded(
                preset, seed: seed, folder: output, workers: workers, progress: progress.show)
            progress.clear()
            return made
        }
        guard access("\(backbone)/config.json", F_OK) == 0 else {
            throw CommandError(
                "--backbone \(backbone) is neither "
                    + Preset.all.map(\.name).joined(separator: " nor ")
                    + " nor the folder of a model bundle")
        }
        return try FeatureBackbone.of(bundle: backbone, workers: workers)
    }

    /// While the backbone sees one image, those after it are read and decoded.
    private static let maximumAhead = 3

    private static func read(
        _ path: String, sha256: String, in folder: String, side: Int
    ) -> ReadImage {
        func failed(_ failure: ReadImage.Failure) -> ReadImage {
            ReadImage(sha256: sha256, path: path, content: .failure(failure))
        }
        do {
            let file = try MappedFile(path: "\(folder)/\(path)")
            guard file.sha256() == sha256 else {
                return failed(.unreadable("it has changed since the dataset was prepared"))
            }
            let bytes = file.contents(maximumBytes: ImageLimits().maximumBytes + 1)
            let pixels = try JPEG.decodeSquare(bytes, side: side)
            return ReadImage(sha256: sha256, path: path, content: .success(pixels))
        } catch ImageError.outOfMemory {
            return failed(.unreadable("\(ImageError.outOfMemory)"))
        } catch let error as ImageError {
            return failed(.undecodable("\(error)"))
        } catch {
            return failed(.unreadable("\(error)"))
        }
    }

    private static func progress(_ done: Int, of count: Int, seconds: Double) -> String {
        let pace = Double(done) / max(seconds, 1e-9)
        let left = Int(Double(count - done) / max(pace, 1e-9))
        let time =
            left >= 3600
            ? "\(left / 3600) h \(left / 60 % 60) min" : "\(left / 60) min \(left % 60) s"
        return "\(done) of \(count) images, \(rounded(pace, 1)) a second, \(time) left"
    }
}
