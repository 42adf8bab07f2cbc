import Kafka
import Testing

/// The decision itself, without a broker. The numbers are librdkafka's, which are its ABI.
@Suite struct ErrorActionTests {
    struct Row: CustomTestStringConvertible, Sendable {
        var code: Int32
        var flags: KafkaError.Flags
        var call: KafkaError.Call
        var action: KafkaError.Action

        var testDescription: String {
            let name = KafkaError(code: code, text: "", action: action).name
            return "\(name) in \(call), flags \(flags.rawValue): \(action)"
        }
    }

    static let timedOut: Int32 = -185
    static let queueFull: Int32 = -184
    static let state: Int32 = -172
    static let conflict: Int32 = -173
    static let fenced: Int32 = -144
    static let unknownTopic: Int32 = -188
    static let transport: Int32 = -195
    static let tooLarge: Int32 = 10
    static let notCoordinator: Int32 = 16
    static let illegalGeneration: Int32 = 22
    static let invalidProducerEpoch: Int32 = 47
    static let fencedLeaderEpoch: Int32 = 74
    static let fencedInstanceID: Int32 = 82
    static let unstableOffsetCommit: Int32 = 88
    static let producerFenced: Int32 = 90
    static let neverHeardOf: Int32 = 9999

    static let rows: [Row] = [
        // What librdkafka flags is taken at its word ...
        Row(code: timedOut, flags: .retriable, call: .initTransactions, action: .retry),
        Row(code: timedOut, flags: .retriable, call: .sendOffsets, action: .retry),
        Row(code: timedOut, flags: .retriable, call: .commitTransaction, action: .retry),
        Row(code: timedOut, flags: .retriable, call: .abortTransaction, action: .retry),
        Row(code: illegalGeneration, flags: .requiresAbort, call: .sendOffsets, action: .abort),
        Row(code: tooLarge, flags: .requiresAbort, call: .commitTransaction, action: .abort),
        Row(code: tooLarge, flags: .requiresAbort, call: .begin, action: .abort),
        Row(code: timedOut, flags: .fatal, call: .commitTransaction, action: .fatal),
        // ... the graver flag first ...
        Row(
            code: notCoordinator, flags: [.retriable, .requiresAbort], call: .sendOffsets,
            action: .abort),
        Row(
            code: notCoordinator, flags: [.retriable, .requiresAbort, .fatal], call: .sendOffsets,
            action: .fatal),
        // ... but for what would go round for ever.
        Row(code: fenced, flags: .requiresAbort, call: .sendOffsets, action: .fatal),
        Row(code: producerFenced, flags: .retriable, call: .initTransactions, action: .fatal),
        Row(code: invalidProducerEpoch, flags: .requiresAbort, call: .begin, action: .fatal),
        Row(code: conflict, flags: .retriable, call: .abortTransaction, action: .fatal),
        Row(code: conflict, flags: .retriable, call: .commitTransaction, action: .fatal),
        Row(code: conflict, flags: .retriable, call: .sendOffsets, action: .fatal),
        Row(code: timedOut, flags: .requiresAbort, call: .abortTransaction, action: .fatal),
        Row(
            code: timedOut, flags: [.requiresAbort, .retriable], call: .abortTransaction,
            action: .fatal),
        // Without a flag everything in a transaction is fatal, whatever the code suggests.
        Row(code: timedOut, flags: [], call: .commitTransaction, action: .fatal),
        Row(code: notCoordinator, flags: [], call: .sendOffsets, action: .fatal),
        Row(code: state, flags: [], call: .begin, action: .fatal),
        Row(code: neverHeardOf, flags: [], call: .initTransactions, action: .fatal),
        // produce sets no flags: the code and the transaction decide.
        Row(code: queueFull, flags: [], call: .produce(inTransaction: true), action: .retry),
        Row(code: queueFull, flags: [], call: .produce(inTransaction: false), action: .retry),
        Row(code: tooLarge, flags: [], call: .produce(inTransaction: true), action: .abort),
        Row(code: unknownTopic, flags: [], call: .produce(inTransaction: true), action: .abort),
        Row(code: state, flags: [], call: .produce(inTransaction: true), action: .abort),
        Row(code: state, flags: [], call: .produce(inTransaction: false), action: .fatal),
        Row(code: state, flags: .fatal, call: .produce(inTransaction: true), action: .fatal),
        Row(code: neverHeardOf, flags: [], call: .produce(inTransaction: true), action: .fatal),
        // Outside transactions there are bare codes only.
        Row(code: timedOut, flags: [], call: .other, action: .retry),
        Row(code: transport, flags: [], call: .other, action: .retry),
        Row(code: notCoordinator, flags: [], call: .other, action: .retry),
        Row(code: unstableOffsetCommit, flags: [], call: .other, action: .retry),
        Row(code: fencedLeaderEpoch, flags: [], call: .other, action: .retry),
        Row(code: illegalGeneration, flags: [], call: .other, action: .abort),
        Row(code: fencedInstanceID, flags: [], call: .other, action: .fatal),
        Row(code: neverHeardOf, flags: [], call: .other, action: .fatal),
    ]

    @Test(arguments: rows) func action(_ row: Row) {
        #expect(
            KafkaError.action(code: row.code, flags: row.flags, call: row.call) == row.action)
    }

    @Test func anErrorSaysWhatItIs() {
        let timeout = KafkaError(code: Self.timedOut, text: "commit", action: .retry)
        #expect(timeout.description == "commit (_TIMED_OUT)")
        #expect(timeout.isTimeout && !timeout.isFenced)
        #expect(KafkaError(code: Self.producerFenced, text: "", action: .fatal).isFenced)
        #expect(KafkaError(code: Self.fencedInstanceID, text: "", action: .fatal).isFenced)
    }
}
