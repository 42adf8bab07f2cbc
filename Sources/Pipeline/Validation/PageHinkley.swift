/// Notices when a stream's mean rises: here, of the absolute error of published scores.
///
/// Page, "Continuous inspection schemes", Biometrika 1954; Hinkley, "Inference about the
/// change-point from cumulative sum tests", Biometrika 1971. With m_t the sum of
/// x_i - mean_i - tolerance, where mean_i is the mean of the samples up to i, the alarm is raised when
/// m_t is more than `threshold` above its smallest value so far. That distance is kept, not m_t.
package struct PageHinkley: Sendable {
    package struct Parameters: Hashable, Sendable {
        /// Rises up to this size are let pass, in units of the samples. Above 0: the larger, the
        /// fewer false alarms.
        package var tolerance = 0.1
        /// In units of the samples, summed up: a mean that rises by r above the tolerance is noticed
        /// after about threshold / r samples. Above 0.
        package var threshold = 50.0
        /// Samples before the first alarm, and after one before the next. At least 1.
        package var minimumSamples = 100
        /// Samples above count as this (and below 0, as 0): no single one comes near to raising an
        /// alarm.
        package var maximumSample = 5.0

        package init() {}
    }

    package let parameters: Parameters
    /// Since the start.
    package private(set) var alarms = 0
    /// Samples that were not finite numbers, and so were left out.
    package private(set) var ignored = 0
    /// Since the last alarm: samples, and their mean.
    package private(set) var samples = 0
    package private(set) var mean = 0.0
    /// m_t above its smallest value: 0...threshold.
    package private(set) var distance = 0.0

    package init(_ parameters: Parameters = Parameters()) {
        self.parameters = parameters
    }

    /// - Returns: true where this sample raises the alarm; everything then starts anew, so that what
    ///   comes is compared with the stream as it is now.
    package mutating func observe(_ sample: Double) -> Bool {
        guard sample.isFinite else {
            ignored += 1
            return false
        }
        let sample = max(0, min(sample, parameters.maximumSample))
        samples += 1
        mean += (sample - mean) / Double(samples)
        distance = max(0, distance + sample - mean - parameters.tolerance)
        guard samples >= parameters.minimumSamples, distance > parameters.threshold else {
            return false
        }
        alarms += 1
        samples = 0
        mean = 0
        distance = 0
        return true
    }
}
