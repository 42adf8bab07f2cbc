import CKernels
import Glibc
import Model

/// Attention between the modalities, guided by the user, and its derivatives (MODEL.md of the Model
/// module):
///
///     c_x = [tanh(x W_x) ⊙ tanh(u W_u)] · w,  x in {t1, v1}     gamma = softmax(c_text, c_image)
///     o = gamma_text t1 + gamma_image v1
///
/// A modality that is alone has weight 1. Without this attention (`parts.inter_attention`) both have.
final class ModalityAttention {
    private let width: Int
    private let text: Linear
    private let image: Linear
    private let user: Linear
    private let w: Parameters.Slot
    private let parameters: Parameters
    private let kernels: Kernels
    private let usesUser: Bool
    private let isThere: Bool

    /// gamma: for each post text and image.
    private(set) var weights: [(text: Float, image: Float)] = []
    /// o: (posts, width).
    let output: FloatMemory
    private let textGate: FloatMemory
    private let imageGate: FloatMemory
    private let userGate: FloatMemory
    private let textGateBack: FloatMemory
    private let imageGateBack: FloatMemory
    private let userGateBack: FloatMemory

    init(
        _ network: NetworkParts, dimension: Int, maximumPosts: Int,
        parts: BundleConfiguration.Parts
    ) throws(TrainingError) {
        parameters = network.parameters
        kernels = network.kernels
        usesUser = parts.user_in_attention
        isThere = parts.inter_attention
        let width = kernels.padded(dimension)
        self.width = width
        text = try network.linear("inter.W_text", true)
        image = try network.linear("inter.W_image", true)
        user = try network.linear("inter.W_u", true)
        w = try network.slot("inter.w")
        func perPost() -> FloatMemory { FloatMemory(zeros: maximumPosts * width) }
        output = perPost()
        (textGate, imageGate, userGate) = (perPost(), perPost(), perPost())
        (textGateBack, imageGateBack, userGateBack) = (perPost(), perPost(), perPost())
    }

    func forward(_ textStates: ModalityStates, _ imageStates: ModalityStates, users: Floats) {
        let (t, v) = (textStates.summaries.start, imageStates.summaries.start)
        let hasText = textStates.posts.map { $0 != nil }
        let hasImage = imageStates.posts.map { $0 != nil }
        let count = hasText.count
        if isThere {
            func gate(_ linear: Linear, _ x: Floats, _ gate: FloatMemory) {
                linear.multiply(x, stride: width, rows: count, into: gate.start)
                kernels.table.pointee.tanh(gate.start, count * width)
            }
            gate(text, t, textGate)
            gate(image, v, imageGate)
            if usesUser { gate(user, users, userGate) }
        }
        let w = parameters.value(w)
        weights = (0..<count).map { post in
            guard isThere, hasText[post], hasImage[post] else {
                return (hasText[post] ? 1 : 0, hasImage[post] ? 1 : 0)
            }
            var (energy, other): (Float, Float) = (0, 0)
            for at in post * width..<(post + 1) * width {
                let guide = (usesUser ? userGate.start[at] : 1) * w[at - post * width]
                energy += textGate.start[at] * guide
                other += imageGate.start[at] * guide
            }
            let share = Self.logistic(energy - other)
            return (share, 1 - share)
        }
        for post in 0..<count {
            let (gamma, at) = (weights[post], post * width)
            let o = output.start + at
            o.update(repeating: 0, count: width)
            if hasText[post] {
                kernels.table.pointee.add_scaled(o, t + at, gamma.text, width)
            }
            if hasImage[post] {
                kernels.table.pointee.add_scaled(o, v + at, gamma.image, width)
            }
        }
    }

    /// From the derivative by o (posts, width) to that by the summaries.
    func backward(
        _ oBack: Floats, _ textStates: ModalityStates, _ imageStates: ModalityStates,
        users: Floats, usersBack: Floats
    ) {
        let (t, v) = (textStates.summaries.start, imageStates.summaries.start)
        let (tBack, vBack) = (textStates.summariesBack.start, imageStates.summariesBack.start)
        let hasText = textStates.posts.map { $0 != nil }
        let hasImage = imageStates.posts.map { $0 != nil }
        let count = hasText.count
        let (wValues, wBack) = (parameters.value(w), parameters.gradient(w))
        for post in 0..<count {
            let gamma = weights[post]
            let hasBoth = isThere && hasText[post] && hasImage[post]
            var energyBack: Float = 0
            if hasBoth {
                var (byText, byImage): (Float, Float) = (0, 0)
                for at in post * width..<(post + 1) * width {
                    byText += oBack[at] * t[at]
                    byImage += oBack[at] * v[at]
                }
                energyBack = gamma.text * gamma.image * (byText - byImage)
            }
            for at in post * width..<(post + 1) * width {
                let k = at - post * width
                tBack[at] = hasText[post] ? gamma.text * oBack[at] : 0
                vBack[at] = hasImage[post] ? gamma.image * oBack[at] : 0
                guard hasBoth else {
                    textGateBack.start[at] = 0
                    imageGateBack.start[at] = 0
                    userGateBack.start[at] = 0
                    continue
                }
                let guide = usesUser ? userGate.start[at] : 1
                let difference = textGate.start[at] - imageGate.start[at]
                textGateBack.start[at] = energyBack * guide * wValues[k]
                imageGateBack.start[at] = -energyBack * guide * wValues[k]
                userGateBack.start[at] = energyBack * difference * wValues[k]
                wBack[k] += energyBack * difference * guide
            }
        }
        guard isThere else { return }
        func gateBack(
            _ linear: Linear, _ gate: FloatMemory, _ back: FloatMemory, _ x: Floats,
            addedTo xBack: Floats
        ) {
            kernels.table.pointee.tanh_back(back.start, gate.start, count * width)
            linear.weightBack(x, stride: width, rows: count, back.start)
            linear.inputBack(back.start, rows: count, addedTo: xBack)
        }
        gateBack(text, textGate, textGateBack, t, addedTo: tBack)
        gateBack(image, imageGate, imageGateBack, v, addedTo: vBack)
        if usesUser { gateBack(user, userGate, userGateBack, users, addedTo: usersBack) }
    }

    private static func logistic(_ x: Float) -> Float { 1 / (1 + exp(-x)) }
}
