import Model
import Synchronization

/// The features of images seen before, by the SHA-256 of the image's bytes: an image posted again
/// is neither decoded nor run through the backbone.
///
/// One cache belongs to one backbone and one side in pixels, so that equal bytes mean equal
/// features, to the last bit. Bounded in bytes (`RecentlyUsed`); used by several threads at once.
package final class FeatureCache: Sendable {
    package struct Counts: Equatable, Sendable {
        /// Posts whose image was known: the backbone did not run.
        package var hits = 0
        /// Posts whose image the backbone had to see.
        package var misses = 0
        /// Images that had to make room.
        package var evictions = 0
        /// Images kept now, and what they take.
        package var images = 0
        package var bytes = 0

        package init() {}
    }

    private struct State {
        var features: RecentlyUsed<String, [Float]>
        var counts = Counts()
    }
    private let state: Mutex<State>

    /// - Parameter maximumBytes: 401 KB an image for 196 regions of 512 channels; 0 keeps nothing.
    package init(maximumBytes: Int) {
        state = Mutex(State(features: RecentlyUsed(maximumBytes: maximumBytes)))
    }

    package var counts: Counts {
        state.withLock { state in
            var counts = state.counts
            counts.images = state.features.count
            counts.bytes = state.features.byteCount
            return counts
        }
    }

    /// - Parameter sha256: of the image's bytes, 64 lower-case hexadecimal digits.
    /// - Returns: regions x channels; nil for an image that is not (or no longer) known.
    func features(ofImage sha256: String) -> [Float]? {
        state.withLock { state in
            guard let features = state.features.value(for: sha256) else { return nil }
            state.counts.hits += 1
            return features
        }
    }

    /// What the backbone has just seen.
    func keep(_ features: [Float], ofImage sha256: String) {
        state.withLock { state in
            state.counts.misses += 1
            state.counts.evictions += state.features.keep(
                features, for: sha256, byteCount: features.count * MemoryLayout<Float>.stride)
        }
    }
}
