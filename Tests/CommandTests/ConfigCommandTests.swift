import Foundation
import Testing

/// What an operator asks of settings before the daemon runs with them.
@Suite struct ConfigCommandTests {
    @Test func goodSettingsAreOK() async throws {
        let folder = try Folder()
        let file = try folder.write(
            """
            model: \(try await TinyModel.make(in: folder))
            kafka:
              bootstrap: localhost:1
            learning:
              enabled: true
              state_folder: \(folder.file("state"))
            """, to: "uhan.yaml")
        let ending = try await Program.run("config", "check", "--config", file)
        #expect(ending.status == 0 && ending.output == "ok\n" && ending.errors == "", "\(ending)")
        #expect(!FileManager.default.fileExists(atPath: folder.file("state")))
    }

    @Test func wrongSettingsAreNamed() async throws {
        let folder = try Folder()
        let file = try folder.write(
            "model: m\nkafka:\n  bootstrap: b:1\n  grop_id: x\nthreads: none\n", to: "uhan.yaml")
        let ending = try await Program.run("config", "check", "--config", file)
        #expect(ending.status == 1 && ending.output == "")
        #expect(ending.errors.contains("the configuration has 2 problems"), "\(ending)")
        #expect(ending.errors.contains("did you mean kafka.group_id?"), "\(ending)")
        #expect(ending.errors.contains(#"threads: is "none""#), "\(ending)")
    }

    @Test func whatTheSettingsNameIsLookedAt() async throws {
        let folder = try Folder()
        let file = try folder.write(
            """
            model: \(folder.file("nothing"))
            kafka:
              bootstrap: localhost:1
              properties:
                sesion.timeout.ms: "3000"
            images:
              schemes: [https, file]
              file_roots: [\(folder.file("pictures"))]
            learning:
              enabled: true
              state_folder: \(folder.file("no/state"))
            """, to: "uhan.yaml")
        let ending = try await Program.run("config", "check", "--config", file)
        #expect(ending.status == 1 && ending.output == "")
        for part in [
            "the configuration has 4 problems", "model: no model bundle in",
            "kafka.properties: Kafka property sesion.timeout.ms is unknown",
            "images.file_roots: \(folder.file("pictures")) cannot be read: No such file",
            "learning.state_folder: \(folder.file("no/state")) cannot be made in",
        ] {
            #expect(ending.errors.contains(part), "\(ending)")
        }
    }

    @Test func settingsAreShownWithTheirOrigin() async throws {
        let folder = try Folder()
        let file = try folder.write(
            """
            model: m
            threads: 2
            kafka:
              bootstrap: b:1
              properties:
                sasl.username: ann
                sasl.password: "s3cret, indeed"
            """, to: "uhan.yaml")
        let ending = try await Program.run(
            ["config", "show", "--config", file, "--threads=3", "--kafka-properties=acks=all"],
            environment: ["UHAN_KAFKA_GROUP_ID": "g", "UHAN_THREADS": "4"])
        #expect(ending.status == 0 && ending.errors == "", "\(ending)")
        let lines = ending.outputLines
        for line in [
            "model: m  # in \(file)", "threads: 3  # from --threads",
            "  group_id: g  # from UHAN_KAFKA_GROUP_ID",
            "  transactional_id: g-\(ProcessInfo.processInfo.hostName)"
                + "  # default: group_id-group_instance_id",
            "  maximum_posts: 16  # default",
            #"  properties: {acks: all, sasl.password: "<hidden>", sasl.username: ann}"#
                + "  # in \(file), then from --kafka-properties",
        ] {
            #expect(lines.contains(line), "\(ending)")
        }
        #expect(!ending.output.contains("s3cret"))
        // It is a file of settings itself.
        let shown = try folder.write(
            ending.output.replacing("\"<hidden>\"", with: "x"), to: "shown.yaml")
        let again = try await Program.run("config", "show", "--config", shown)
        #expect(again.status == 0 && again.output.contains("threads: 3  # in \(shown)"), "\(again)")
    }

    @Test func theDefaultsAreAFileToBeginWith() async throws {
        let folder = try Folder()
        let settings = try await Program.run("config", "show", "--defaults")
        #expect(settings.status == 0 && settings.errors == "")
        let file = try folder.write(settings.output, to: "uhan.yaml")
        let ending = try await Program.run(
            "serve", "--config", file, "--model", folder.file("nothing"), "--kafka-bootstrap",
            "localhost:1")
        #expect(ending.status == 1)
        #expect(ending.errorLines.last?.contains("no model bundle in") == true, "\(ending)")
        let both = try await Program.run("config", "show", "--defaults", "--threads=3")
        #expect(both.status == 64, "\(both)")
    }
}
