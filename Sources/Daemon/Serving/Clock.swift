import Glibc
import Pipeline

/// The real clocks, of which the pipeline is told the time.
struct Clock: Sendable {
    var now: Moment {
        Moment(
            uptime: Self.nanoseconds(CLOCK_MONOTONIC) / 1_000_000,
            epoch: Self.nanoseconds(CLOCK_REALTIME) / 1_000_000)
    }

    var uptimeNanoseconds: UInt64 { UInt64(Self.nanoseconds(CLOCK_MONOTONIC)) }

    private static func nanoseconds(_ clock: clockid_t) -> Int64 {
        var time = timespec()
        clock_gettime(clock, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }
}
