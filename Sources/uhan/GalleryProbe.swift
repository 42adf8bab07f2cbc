import ArgumentParser
import Gallery
import Model
import Training

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

struct GalleryProbe: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "probe",
        abstract: "See what a backbone sees of a gallery's things.",
        discussion: """
            Runs the model's backbone over the gallery's first pictures, and trains linear \
            classifiers on its features: do they tell the kind and the colour of a thing? A head \
            can use no more than what is there. Two posts in three are learned from, the others \
            are the test.

              uhan gallery probe --gallery gallery --model model
            """)

    @Option(help: "A folder that 'uhan gallery' made.")
    var gallery: String

    @Option(help: "A model bundle; only its backbone is used.")
    var model: String

    @Option(help: "How many posts, at most.")
    var posts = 600

    @Option(help: "Threads; by default one for each core.")
    var threads: Int?

    struct Report: Encodable {
        let model: String
        let backbone: String
        let gallery_sha256: String
        let pictures: Int
        let probes: [String: LinearProbe.Result]
    }

    func validate() throws {
        guard (12...100_000).contains(posts) else {
            throw ValidationError("--posts must be in 12...100000")
        }
        guard (1...256).contains(threads ?? 1) else {
            throw ValidationError("--threads must be in 1...256")
        }
    }

    func run() throws {
        let report = try galleryReport()
        let bundle = try openModel(model)
        let vgg = try bundle.makeBackbone(workers: Workers(count: threads ?? onlineCores()))
        var probes = Probes()
        var pictures = 0
        let progress = Progress()
        let lines = try LineReader(path: "\(gallery)/truth.jsonl")
        let records = try LineReader(path: "\(gallery)/posts.jsonl")
        for index in 0..<min(posts, report.posts) {
            guard let truthLine = try lines.next(), let postLine = try records.next() else {
                throw CommandError("\(gallery) has fewer posts than its gallery.json says")
            }
            let decoder = JSONDecoder()
            let truth = try decoder.decode(
                GalleryRecord.Truth.self, from: Data(truthLine.bytes))
            let post = try decoder.decode(GalleryRecord.Post.self, from: Data(postLine.bytes))
            guard let image = post.image else { continue }
            let jpeg = try MappedFile(path: "\(gallery)/\(image)").contents()
            let features = vgg.features(try JPEG.decodeSquare(jpeg, side: vgg.side))
            probes.add(
                truth, features: features, grid: vgg.grid, isTest: index % 3 == 2)
            pictures += 1
            progress.show("\(pictures) pictures seen")
        }
        progress.clear()
        let results = try probes.results()
        for (name, result) in results.sorted(by: { $0.key < $1.key }) {
            say(
                "\(name): \(rounded(result.accuracy * 100, 1)) % of \(result.test_samples) right, "
                    + "by chance \(rounded(result.chance * 100, 1)) %")
        }
        try printJSON(
            Report(
                model: bundle.version, backbone: bundle.configuration.backbone.sha256,
                gallery_sha256: report.sha256, pictures: pictures, probes: results))
    }

    private func galleryReport() throws -> GalleryReport {
        let path = "\(gallery)/gallery.json"
        do {
            return try JSONDecoder().decode(
                GalleryReport.self, from: Data(try MappedFile(path: path).contents()))
        } catch {
            throw CommandError(
                "\(path): \(error); 'uhan gallery --seed 1 --output \(gallery)' makes a gallery")
        }
    }
}

/// Samples of what is asked, gathered picture by picture.
private struct Probes {
    private struct Question {
        let classes: Int
        var train: [LinearProbe.Sample] = []
        var test: [LinearProbe.Sample] = []

        mutating func add(_ features: [Float], _ label: Int?, isTest: Bool) {
            guard let label else { return }
            let sample = LinearProbe.Sample(features: features, label: label)
            if isTest { test.append(sample) } else { train.append(sample) }
        }
    }

    private static let kinds = GalleryKind.allCases
    private static let colors = GalleryColor.allCases
    private var kindAtCenter = Question(classes: kinds.count)
    private var colorAtCenter = Question(classes: colors.count)
    private var subjectColorAtCenter = Question(classes: colors.count)
    private var subjectKindOfMean = Question(classes: kinds.count)
    private var subjectColorOfMean = Question(classes: colors.count)

    /// - Parameter features: grid x grid regions, row-major, a vector each.
    mutating func add(
        _ truth: GalleryRecord.Truth, features: [Float], grid: Int, isTest: Bool
    ) {
        let channels = features.count / (grid * grid)
        var mean = [Float](repeating: 0, count: channels)
        for i in features.indices { mean[i % channels] += features[i] / Float(grid * grid) }

        for (index, object) in truth.objects.enumerated() where object.box.count == 4 {
            let column = Int((object.box[0] + object.box[2]) / 2 * Double(grid))
            let row = Int((object.box[1] + object.box[3]) / 2 * Double(grid))
            let start = (row * grid + column) * channels
            let center = Array(features[start..<start + channels])
            let kind = Self.kinds.firstIndex(of: object.kind)
            let color = Self.colors.firstIndex(of: object.color)
            kindAtCenter.add(center, kind, isTest: isTest)
            colorAtCenter.add(center, color, isTest: isTest)
            if index == truth.subject {
                subjectColorAtCenter.add(center, color, isTest: isTest)
                subjectKindOfMean.add(mean, kind, isTest: isTest)
                subjectColorOfMean.add(mean, color, isTest: isTest)
            }
        }
    }

    func results() throws -> [String: LinearProbe.Result] {
        try [
            "kind at the centre": kindAtCenter, "colour at the centre": colorAtCenter,
            "subject's colour at its centre": subjectColorAtCenter,
            "subject's kind in the mean": subjectKindOfMean,
            "subject's colour in the mean": subjectColorOfMean,
        ].mapValues {
            try LinearProbe.run(train: $0.train, test: $0.test, classes: $0.classes)
        }
    }
}
