import Pipeline

/// Brokers in memory, with what Kafka promises about transactions and consumer groups, and no
/// more. Every call takes effect at once; lost requests and lost replies are the caller's affair.
///
/// Modelled: producer epochs and fencing; a transaction's records and offsets appear together or
/// never; a new producer of the same transactional id ends its predecessor's transaction; a
/// transaction that stays open too long is aborted and its producer fenced; read_committed reads
/// up to the last stable offset; offsets are accepted only from a member of the current
/// generation; offsets of an open transaction are waited for before they are read (KIP-447).
struct SimulatedBroker {
    enum Failure: Error {
        /// Another producer has the transactional id now.
        case fenced
        /// The call does not fit the transaction's state.
        case invalidState
        /// Not a member, or of a generation that is over.
        case staleGeneration
    }

    enum TransactionState {
        case open
        case committed
        case aborted
    }

    struct LoggedRecord {
        var record: OutputRecord
        /// nil: outside of transactions.
        var transaction: Int?
    }

    private struct Transaction {
        var state = TransactionState.open
        var began: Milliseconds
        var records: [OutputRecord] = []
        var offsets: [Partition: Int64] = [:]
    }

    private struct TransactionalID {
        var epoch = 0
        var open: Int?
        /// How the last transaction of this epoch ended, for a repeated request.
        var last: TransactionState?
    }

    static let transactionTimeout: Milliseconds = 4_000
    static let scorePartitions = 2
    /// The topics' `max.message.bytes`.
    static let maximumRecordBytes = 2_000

    private(set) var group = SimulatedGroup()
    private(set) var logs: [Partition: [LoggedRecord]] = [:]
    private var transactions: [Transaction] = []
    private var producers: [String: TransactionalID] = [:]
    private var committedOffsets: [Partition: Int64] = [:]
    /// What has become visible or committed since the last look, for the referee.
    var news: [News] = []
    /// All that was committed together, in the order of the commits.
    private(set) var committed: [[OutputRecord]] = []

    enum News {
        case visible([OutputRecord])
        case committed([Partition: Int64])
    }

    /// (Topics of the learning state have a limit that is never met.)
    static func accepts(_ record: OutputRecord) -> Bool {
        record.partition != nil
            || bytes(record.key, record.value, record.headers) <= maximumRecordBytes
    }

    static func bytes(_ key: [UInt8]?, _ value: [UInt8]?, _ headers: [RecordHeader]) -> Int {
        (key?.count ?? 0) + (value?.count ?? 0)
            + headers.reduce(20) { $0 + 2 + $1.key.utf8.count + ($1.value?.count ?? 0) }
    }

    // MARK: - Producers

    /// init_transactions: the epoch of the new producer.
    mutating func initializeProducer(_ id: String) -> Int {
        if let open = producers[id, default: TransactionalID()].open {
            end(open, .aborted)
        }
        let epoch = producers[id, default: TransactionalID()].epoch + 1
        producers[id] = TransactionalID(epoch: epoch)
        return epoch
    }

    mutating func produce(
        _ records: [OutputRecord], id: String, epoch: Int, at time: Milliseconds
    ) throws(Failure) {
        let transaction = try openTransaction(id, epoch, at: time)
        transactions[transaction].records += records
        append(records, transaction)
    }

    mutating func sendOffsets(
        _ offsets: [Partition: Int64], id: String, epoch: Int, member: SimulatedGroup.Membership?,
        at time: Milliseconds
    ) throws(Failure) {
        let transaction = try openTransaction(id, epoch, at: time)
        guard group.accepts(member) else { throw .staleGeneration }
        transactions[transaction].offsets.merge(offsets) { $1 }
    }

    mutating func endTransaction(
        _ outcome: TransactionState, id: String, epoch: Int
    ) throws(Failure) {
        guard let producer = producers[id], producer.epoch == epoch else { throw .fenced }
        guard let open = producer.open else {
            guard producer.last == outcome else { throw .invalidState }
            return
        }
        end(open, outcome)
        producers[id]?.open = nil
        producers[id]?.last = outcome
    }

    /// Records outside of transactions.
    mutating func produceAtOnce(_ records: [OutputRecord]) {
        append(records, nil)
        committed.append(records)
        news.append(.visible(records))
    }

    /// Offsets outside of transactions.
    mutating func commitOffsets(
        _ offsets: [Partition: Int64], member: SimulatedGroup.Membership?
    ) throws(Failure) {
        guard group.accepts(member) else { throw .staleGeneration }
        committedOffsets.merge(offsets) { $1 }
        news.append(.committed(offsets))
    }

    /// nil: an open transaction holds offsets of one of the partitions, so ask again later.
    func readCommitted(_ partitions: [Partition]) -> [Partition: Int64]? {
        let isUnstable = producers.values.contains { producer in
            guard let open = producer.open else { return false }
            return partitions.contains { transactions[open].offsets[$0] != nil }
        }
        return isUnstable ? nil : committedOffsets.filter { partitions.contains($0.key) }
    }

    mutating func abortOldTransactions(at time: Milliseconds) {
        for id in producers.keys.sorted() {
            guard let producer = producers[id], let open = producer.open,
                time - transactions[open].began > Self.transactionTimeout
            else { continue }
            end(open, .aborted)
            producers[id] = TransactionalID(epoch: producer.epoch + 1)
        }
    }

    var hasOpenTransactions: Bool { producers.values.contains { $0.open != nil } }

    mutating func withGroup<Value>(_ body: (inout SimulatedGroup) -> Value) -> Value {
        body(&group)
    }

    /// What a read_committed consumer gets: committed records before the first open transaction.
    func visibleRecords(of partition: Partition) -> [OutputRecord] {
        var visible: [OutputRecord] = []
        for logged in logs[partition] ?? [] {
            switch logged.transaction.map({ transactions[$0].state }) {
            case .open: return visible
            case .committed, nil: visible.append(logged.record)
            case .aborted: break
            }
        }
        return visible
    }

    /// The next record that a read_committed consumer gets, from an offset on.
    func visibleRecord(of partition: Partition, from offset: Int64) -> (Int64, OutputRecord)? {
        let log = logs[partition] ?? []
        for index in Int(offset)..<max(Int(offset), log.count) {
            switch log[index].transaction.map({ transactions[$0].state }) {
            case .open: return nil
            case .committed, nil: return (Int64(index), log[index].record)
            case .aborted: break
            }
        }
        return nil
    }

    /// All committed records from an offset on, and where the log ends; nil while an open transaction
    /// holds some of them back.
    func readToEnd(
        _ partition: Partition, from offset: Int
    ) -> (records: [OutputRecord], end: Int)? {
        let log = logs[partition] ?? []
        var records: [OutputRecord] = []
        for logged in log[min(offset, log.count)...] {
            switch logged.transaction.map({ transactions[$0].state }) {
            case .open: return nil
            case .committed, nil: records.append(logged.record)
            case .aborted: break
            }
        }
        return (records, log.count)
    }

    private mutating func openTransaction(
        _ id: String, _ epoch: Int, at time: Milliseconds
    ) throws(Failure) -> Int {
        guard let producer = producers[id], producer.epoch == epoch else { throw .fenced }
        if let open = producer.open { return open }
        transactions.append(Transaction(began: time))
        producers[id]?.open = transactions.count - 1
        producers[id]?.last = nil
        return transactions.count - 1
    }

    private mutating func append(_ records: [OutputRecord], _ transaction: Int?) {
        for record in records {
            let hash = (record.key ?? []).reduce(0) { ($0 &* 31 &+ Int($1)) & 0xFFFF }
            let partition = Partition(
                topic: record.topic,
                number: record.partition ?? Int32(hash % Self.scorePartitions))
            logs[partition, default: []].append(
                LoggedRecord(record: record, transaction: transaction))
        }
    }

    private mutating func end(_ index: Int, _ outcome: TransactionState) {
        transactions[index].state = outcome
        guard outcome == .committed else { return }
        committedOffsets.merge(transactions[index].offsets) { $1 }
        committed.append(transactions[index].records)
        news.append(.visible(transactions[index].records))
        news.append(.committed(transactions[index].offsets))
    }
}

/// The consumer group: eager rebalancing, generations, members that are thrown out.
struct SimulatedGroup {
    /// What a consumer knows of its place in the group.
    struct Membership: Equatable {
        var member: Int
        var generation: Int
    }

    private struct Member {
        var hasRejoined = false
        var assignment: [Partition]?
    }

    /// What a poll tells a member about the group.
    enum Word {
        case nothing
        /// Give up what you have, then `rejoin`.
        case rebalance
        case assigned([Partition], generation: Int)
        /// You are no member any more.
        case unknownMember
    }

    var partitions: [Partition] = []
    private var members: [Int: Member] = [:]
    private var generation = 0
    private var isRebalancing = false
    private var lastMember = 0

    mutating func join() -> Int {
        lastMember += 1
        members[lastMember] = Member(hasRejoined: true)
        rebalance(joined: lastMember)
        return lastMember
    }

    mutating func remove(_ member: Int) {
        guard members.removeValue(forKey: member) != nil else { return }
        rebalance(joined: nil)
    }

    mutating func rejoin(_ member: Int) {
        members[member]?.hasRejoined = true
        completeIfAllJoined()
    }

    mutating func poll(_ member: Int) -> Word {
        guard let state = members[member] else { return .unknownMember }
        if isRebalancing { return state.hasRejoined ? .nothing : .rebalance }
        guard let assignment = state.assignment else { return .nothing }
        members[member]?.assignment = nil
        return .assigned(assignment, generation: generation)
    }

    func accepts(_ membership: Membership?) -> Bool {
        guard let membership else { return false }
        return members[membership.member] != nil && membership.generation == generation
    }

    mutating func rebalance(joined: Int?) {
        isRebalancing = true
        for member in members.keys where member != joined {
            members[member]?.hasRejoined = false
        }
        completeIfAllJoined()
    }

    private mutating func completeIfAllJoined() {
        guard isRebalancing, members.values.allSatisfy(\.hasRejoined) else { return }
        isRebalancing = false
        generation += 1
        let order = members.keys.sorted()
        for (index, member) in order.enumerated() {
            // As the range assignor does: equal numbers of all topics together.
            members[member]?.assignment = partitions.filter {
                Int($0.number) % order.count == index
            }
        }
    }
}
