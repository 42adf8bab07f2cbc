import CKernels
import Model

/// A network that learns: `forward`, then `backward` of the same batch adds to the gradients.
protocol TrainableNetwork: AnyObject {
    var parameters: Parameters { get }
    var maximumPosts: Int { get }
    /// To be called whenever the parameters have changed.
    func pack()
    /// - Returns: the posts' scores.
    func forward(_ batch: [TrainingSample], masks: DropoutMasks) -> [Float]
    /// - Parameter scoresBack: the derivative of the loss by each score.
    func backward(_ scoresBack: [Float])
    /// The dense layers' biases: the loss has a penalty on them, and on the words of the batch.
    var penalisedBiases: [Parameters.Slot] { get }
}

/// Makes the parts of a network by the names of their parameters.
final class NetworkParts {
    let parameters: Parameters
    let kernels: Kernels
    let workers: Workers
    private(set) var linears: [Linear] = []

    init(
        _ shapes: [(name: String, shape: [Int], blocks: Int)], _ kernels: Kernels,
        _ workers: Workers
    ) {
        parameters = Parameters(shapes, kernels)
        self.kernels = kernels
        self.workers = workers
    }

    func slot(_ name: String) throws(TrainingError) -> Parameters.Slot {
        guard let slot = parameters.slot(name) else {
            throw .invalid("the network has no parameter '\(name)'")
        }
        return slot
    }

    func linear(_ name: String, _ givesInputBack: Bool) throws(TrainingError) -> Linear {
        let linear = try Linear(
            parameters, slot(name), givesInputBack: givesInputBack, kernels, workers)
        linears.append(linear)
        return linear
    }
}
