/// What was learnt about one user of one model: the last vectors, the last labelled posts and the
/// running mean of the labels. `schemas/user.v1.json` is the same in JSON Schema.
package struct LearnerState: Equatable, Sendable {
    package static let schema = "uhan.user.v1"
    package static let maximumVectors = 8
    package static let maximumPosts = 32
    package static let maximumDimension = 4_096

    package struct Vector: Equatable, Sendable {
        /// Counts up from 1 with every change; never used twice.
        package var version: Int
        /// d values.
        package var values: [Float]
        /// Seconds since 1970, in record time: when the label that led to it was observed.
        package var learnedAt: Double
        /// Labels that the user had had by then.
        package var labels: Int
        /// The earlier version that it is a copy of, where it is one.
        package var rolledBackTo: Int?

        package init(
            version: Int, values: [Float], learnedAt: Double, labels: Int,
            rolledBackTo: Int? = nil
        ) {
            self.version = version
            self.values = values
            self.learnedAt = learnedAt
            self.labels = labels
            self.rolledBackTo = rolledBackTo
        }
    }

    package struct LabelledPost: Equatable, Sendable {
        package var pid: String
        /// log2(views / days) + 1.
        package var label: Float
        package var postedAt: Double
        package var observedAt: Double
        /// Counts the user's labelled posts from 0: whether a post is held out follows from it.
        package var number: Int

        package init(
            pid: String, label: Float, postedAt: Double, observedAt: Double, number: Int
        ) {
            self.pid = pid
            self.label = label
            self.postedAt = postedAt
            self.observedAt = observedAt
            self.number = number
        }
    }

    package var uid: String
    /// The model's version.
    package var model: String
    /// The last `maximumVectors`, the oldest first; the last one counts. Empty as long as the
    /// bundle's (or the unknown user's) vector stands.
    package var vectors: [Vector] = []
    /// The last `maximumPosts`, in the order of their labels.
    package var posts: [LabelledPost] = []
    /// Labels taken so far, corrections aside, and their sum.
    package var labelCount = 0
    package var labelSum = 0.0
    /// Since the last update was tried.
    package var labelsSinceUpdate = 0
    /// `observedAt` of the label that led to it.
    package var updateTriedAt: Double?

    package init(uid: String, model: String) {
        self.uid = uid
        self.model = model
    }

    package var current: Vector? { vectors.last }
    package var labelMean: Float? { labelCount > 0 ? Float(labelSum / Double(labelCount)) : nil }
}

// MARK: - Writing

extension LearnerState {
    /// The value of its record on the users topic: one line of JSON. Vectors are the base64 of
    /// little-endian float32 and numbers their shortest exact digits, so that all comes back bit
    /// for bit.
    package var json: [UInt8] {
        var writer = JSONWriter()
        writer.object { user in
            user.name("schema")
            user.string(Self.schema)
            user.name("uid")
            user.string(uid)
            user.name("model")
            user.string(model)
            user.name("vectors")
            user.array { array in
                for vector in vectors { array.object { vector.write(to: &$0) } }
            }
            user.name("posts")
            user.array { array in
                for post in posts { array.object { post.write(to: &$0) } }
            }
            user.name("label_count")
            user.integer(Int64(labelCount))
            user.name("label_sum")
            user.number(labelSum)
            user.name("labels_since_update")
            user.integer(Int64(labelsSinceUpdate))
            if let updateTriedAt {
                user.name("update_tried_at")
                user.number(updateTriedAt)
            }
        }
        return writer.bytes
    }
}

extension LearnerState.Vector {
    fileprivate func write(to vector: inout JSONWriter) {
        vector.name("version")
        vector.integer(Int64(version))
        vector.name("learned_at")
        vector.number(learnedAt)
        vector.name("labels")
        vector.integer(Int64(labels))
        if let rolledBackTo {
            vector.name("rolled_back_to")
            vector.integer(Int64(rolledBackTo))
        }
        vector.name("values")
        let bytes = [UInt8](unsafeUninitializedCapacity: 4 * values.count) { bytes, count in
            for (place, value) in values.enumerated() {
                UnsafeMutableRawBufferPointer(bytes).storeBytes(
                    of: value.bitPattern.littleEndian, toByteOffset: 4 * place, as: UInt32.self)
            }
            count = 4 * values.count
        }
        vector.string(Base64.encode(bytes))
    }
}

extension LearnerState.LabelledPost {
    fileprivate func write(to post: inout JSONWriter) {
        post.name("pid")
        post.string(pid)
        post.name("label")
        post.number(label)
        post.name("posted_at")
        post.number(postedAt)
        post.name("observed_at")
        post.number(observedAt)
        post.name("number")
        post.integer(Int64(number))
    }
}

// MARK: - Reading

extension LearnerState {
    /// Reads what `json` writes.
    package init(parsing value: [UInt8]) throws(JSONError) {
        let user = try RecordFields(parsing: value, schema: Self.schema)
        uid = try user.identifier("uid")
        model = try user.identifier("model")
        vectors = try user.objects("vectors", atMost: Self.maximumVectors, Vector.init)
        posts = try user.objects("posts", atMost: Self.maximumPosts, LabelledPost.init)
        labelCount = try user.count("label_count")
        labelSum = try user.double("label_sum")
        labelsSinceUpdate = try user.count("labels_since_update")
        updateTriedAt = user.has("update_tried_at") ? try user.seconds("update_tried_at") : nil
        for (earlier, later) in zip(vectors, vectors.dropFirst()) {
            guard earlier.version < later.version else {
                throw JSONError(
                    found: "version \(later.version) after \(earlier.version) in vectors",
                    expected: "versions that count up")
            }
            guard earlier.values.count == later.values.count else {
                throw JSONError(
                    found: "vectors of \(earlier.values.count) and \(later.values.count) values",
                    expected: "vectors of one size")
            }
        }
    }
}

extension LearnerState.Vector {
    fileprivate init(_ vector: RecordFields) throws(JSONError) {
        version = try vector.integer("version", in: 1...Int.max)
        learnedAt = try vector.double("learned_at")
        labels = try vector.count("labels")
        rolledBackTo = nil
        if vector.has("rolled_back_to") {
            let earlier: Int = try vector.integer("rolled_back_to")
            guard 1..<version ~= earlier else {
                throw vector.wrong("rolled_back_to", "a version before \(version)")
            }
            rolledBackTo = earlier
        }
        let bytes = try Base64.decode(vector.string("values"))
        guard bytes.count % 4 == 0, 1...LearnerState.maximumDimension ~= bytes.count / 4 else {
            throw JSONError(
                found: "\(bytes.count) bytes as \"values\" of version \(version)",
                expected: "4 bytes each for 1 to \(LearnerState.maximumDimension) values")
        }
        values = [Float](unsafeUninitializedCapacity: bytes.count / 4) { values, count in
            bytes.withUnsafeBytes { bytes in
                for place in 0..<bytes.count / 4 {
                    let bits = bytes.loadUnaligned(fromByteOffset: 4 * place, as: UInt32.self)
                    values.initializeElement(
                        at: place, to: Float(bitPattern: UInt32(littleEndian: bits)))
                }
            }
            count = bytes.count / 4
        }
        if let place = values.firstIndex(where: { !$0.isFinite }) {
            throw JSONError(
                found: "\(values[place]) as value \(place) of version \(version)",
                expected: "finite values")
        }
    }
}

extension LearnerState.LabelledPost {
    fileprivate init(_ post: RecordFields) throws(JSONError) {
        pid = try post.identifier("pid")
        label = try post.label("label")
        postedAt = try post.double("posted_at")
        observedAt = try post.seconds("observed_at")
        number = try post.count("number")
    }
}
