/// The trace that a post belongs to, carried from its record to its answer's: W3C Trace Context,
/// headers `traceparent` and `tracestate`, as they came.
enum TraceContext {
    private static let names = ["traceparent", "tracestate"]
    /// A tracestate has up to 512 characters; what is longer is none, and not carried.
    private static let maximumBytes = 512

    /// The first of each name.
    static func headers(of record: Record) -> [RecordHeader] {
        names.compactMap { name in
            record.headers.first { $0.key == name }
        }.filter { ($0.value?.count ?? 0) <= maximumBytes }
    }
}
