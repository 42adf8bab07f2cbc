// swift-tools-version: 6.2
import PackageDescription

let package = Package(
    name: "uhan",
    products: [
        .executable(name: "uhan", targets: ["uhan"])
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(
            url: "https://github.com/apple/swift-configuration", from: "1.4.0",
            traits: ["YAML", "CommandLineArguments"]),
        .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
        .package(url: "https://github.com/apple/swift-metrics", from: "2.13.0"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-nio-extras", from: "1.35.2"),
        .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.6"),
        .package(url: "https://github.com/apple/swift-http-types", from: "1.8.0"),
        .package(
            url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1", traits: []),
        .package(url: "https://github.com/swift-server/async-http-client", from: "1.37.0"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
    ],
    targets: [
        .systemLibrary(
            name: "CRdkafka", pkgConfig: "rdkafka", providers: [.apt(["librdkafka-dev"])]),
        .systemLibrary(
            name: "COpenBLAS", pkgConfig: "openblas", providers: [.apt(["libopenblas-dev"])]),
        .systemLibrary(name: "CCairo", pkgConfig: "cairo", providers: [.apt(["libcairo2-dev"])]),
        .systemLibrary(name: "CLiblinear", providers: [.apt(["liblinear-dev"])]),
        .target(name: "CJPEG", linkerSettings: [.linkedLibrary("jpeg")]),
        .target(name: "CKernels"),
        .target(
            name: "Model",
            dependencies: [
                "CJPEG", "CKernels",
                .product(name: "Crypto", package: "swift-crypto"),
            ],
            exclude: ["MODEL.md"]),
        .target(name: "Pipeline", dependencies: ["Model"], exclude: ["LEARNING.md"]),
        .target(name: "Gallery", dependencies: ["Model"], exclude: ["GALLERY.md"]),
        .target(
            name: "Drawing", dependencies: ["CCairo", "Model", "Pipeline"], exclude: ["example.png"]
        ),
        .target(
            name: "Training",
            dependencies: ["CKernels", "CLiblinear", "COpenBLAS", "Model", "Pipeline"],
            exclude: ["TRAINING.md"]),
        .target(name: "Kafka", dependencies: ["CRdkafka"]),
        .target(
            name: "Daemon",
            dependencies: [
                "Gallery", "Kafka", "Pipeline", "Model",
                .product(name: "AsyncHTTPClient", package: "async-http-client"),
                .product(name: "Configuration", package: "swift-configuration"),
                .product(name: "Metrics", package: "swift-metrics"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "GRDB", package: "GRDB.swift"),
                .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "HummingbirdCore", package: "hummingbird"),
                .product(name: "HummingbirdTLS", package: "hummingbird"),
                .product(name: "HTTPTypes", package: "swift-http-types"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
                .product(name: "NIOHTTPTypes", package: "swift-nio-extras"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "NIOSSL", package: "swift-nio-ssl"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "UnixSignals", package: "swift-service-lifecycle"),
            ]),
        .executableTarget(
            name: "uhan",
            dependencies: [
                "Daemon", "Drawing", "Gallery", "Model", "Pipeline", "Training",
                .product(name: "Logging", package: "swift-log"),
                .product(name: "Metrics", package: "swift-metrics"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ]),
        .testTarget(name: "ModelTests", dependencies: ["Model"]),
        .testTarget(name: "PipelineTests", dependencies: ["Pipeline", "Model"]),
        .testTarget(
            name: "DaemonTests",
            dependencies: [
                "Daemon", "Kafka", "Model", "Pipeline",
                .product(name: "Logging", package: "swift-log"),
                .product(name: "Metrics", package: "swift-metrics"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "NIOSSL", package: "swift-nio-ssl"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
            ]),
        .testTarget(name: "GalleryTests", dependencies: ["Gallery", "Model"]),
        .testTarget(name: "DrawingTests", dependencies: ["Drawing", "Model", "Pipeline"]),
        .testTarget(
            name: "TrainingTests", dependencies: ["Training", "Gallery", "Model", "Pipeline"]),
        .testTarget(name: "KafkaTests", dependencies: ["Kafka"]),
        .testTarget(
            name: "CommandTests", dependencies: ["uhan", "Gallery", "Kafka", "Model"]),
    ],
    swiftLanguageModes: [.v6]
)
