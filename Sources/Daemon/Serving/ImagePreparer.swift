import Model
import Pipeline
import Synchronization

/// Fetches and reads images beside the scoring: one task a post, a few threads for decoding.
///
/// The number of tasks is bounded by `ScorePathConfiguration.maximumPreparedPosts`.
final class ImagePreparer: Sendable {
    private let fetcher: ImageFetcher
    private let reader: PostImageReader
    private let clock: Clock
    private let decoding: BlockingCalls
    private let tasks = Mutex<[Ticket: Task<Void, Never>]>([:])

    init(
        fetcher: ImageFetcher, reader: PostImageReader, clock: Clock, decodingThreads: Int
    ) {
        self.fetcher = fetcher
        self.reader = reader
        self.clock = clock
        decoding = BlockingCalls(threadCount: decodingThreads)
    }

    /// Answers exactly once, by `deadline` (uptime).
    func prepare(
        _ ticket: Ticket, _ post: PostEvent, deadline: Milliseconds,
        answer: @escaping @Sendable (Result<PreparedImage<PostImage>, PreparationFailure>) -> Void
    ) {
        // The lock keeps the task from removing itself before it stands in the table.
        tasks.withLock { tasks in
            tasks[ticket] = Task {
                let result = await self.prepare(post, deadline: deadline)
                self.tasks.withLock { $0[ticket] = nil }
                answer(result)
            }
        }
    }

    func cancel(_ ticket: Ticket) {
        tasks.withLock { $0[ticket] }?.cancel()
    }

    func shutdown() async {
        for task in tasks.withLock({ Array($0.values) }) { task.cancel() }
        decoding.shutdown()
    }

    private func prepare(
        _ post: PostEvent, deadline: Milliseconds
    ) async -> Result<PreparedImage<PostImage>, PreparationFailure> {
        do {
            let start = clock.uptimeNanoseconds
            let bytes = try await fetch(post, deadline: deadline)
            let arrived = clock.uptimeNanoseconds
            let image = try await read(bytes, sha256: post.imageSHA256.map { hexadecimal($0) })
            return .success(
                PreparedImage(
                    image: image, byteCount: image.byteCount,
                    fetchMilliseconds: Float(arrived - start) / 1e6,
                    decodeMilliseconds: Float(clock.uptimeNanoseconds - arrived) / 1e6))
        } catch {
            return .failure(error)
        }
    }

    private func fetch(
        _ post: PostEvent, deadline: Milliseconds
    ) async throws(PreparationFailure) -> [UInt8] {
        switch post.image {
        case .url(let url):
            let expected = post.imageSHA256.map { hexadecimal($0) }
            let remaining = max(1, deadline - clock.now.uptime)
            do {
                return try await fetcher.fetch(
                    url, expectedSHA256: expected, timeoutMilliseconds: Int(remaining))
            } catch {
                switch error.reason {
                case .unavailable:
                    throw .transient(
                        error.message,
                        retryAfterMilliseconds: error.retryAfterMilliseconds.map(Milliseconds.init))
                case .refused: throw .permanent(.imageRefused, error.message)
                case .checksumMismatch: throw .permanent(.imageChecksumMismatch, error.message)
                }
            }
        case .inline(let bytes):
            if let expected = post.imageSHA256.map({ hexadecimal($0) }) {
                let found = sha256Hex(bytes)
                guard found == expected else {
                    throw .permanent(
                        .imageChecksumMismatch,
                        "the image in the event has SHA-256 \(found), the event says \(expected)")
                }
            }
            return bytes
        case .relativePath(let path):
            throw .permanent(.imageRefused, "the path '\(path)' means nothing on a topic")
        case nil:
            throw .permanent(.imageRefused, "the post has no image")
        }
    }

    /// - Parameter sha256: what the event says, which `fetch` has compared with the bytes.
    private func read(
        _ bytes: [UInt8], sha256: String?
    ) async throws(PreparationFailure) -> PostImage {
        do {
            return try await decoding.run { [reader] in
                try reader.image(of: bytes, sha256: sha256)
            }
        } catch ImageError.outOfMemory {
            throw .transient(ImageError.outOfMemory.description)
        } catch let error as ImageError {
            throw .permanent(.imageUndecodable, error.description)
        } catch {
            throw .transient("given up before it was decoded")
        }
    }
}
