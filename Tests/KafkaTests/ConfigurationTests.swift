import Kafka
import Testing

@Suite(.blocking) struct ConfigurationTests {
    func configuration(_ properties: [String: String]) -> ClientConfiguration {
        ClientConfiguration(
            bootstrapServers: "127.0.0.1:1",
            properties: ["group.id": "g", "transactional.id": "t"].merging(properties) { $1 })
    }

    func rejection(_ properties: [String: String]) throws -> KafkaError {
        let consumer = try kafkaError {
            _ = try Consumer(configuration: configuration(properties)) { _, _ in [:] }
        }
        let producer = try kafkaError {
            _ = try Producer(configuration: configuration(properties))
        }
        #expect(consumer.description == producer.description)
        #expect(consumer.action == .fatal)
        return consumer
    }

    @Test func anUnknownPropertyIsNamed() throws {
        let error = try rejection(["fetch.wait.maximum.ms": "50"])
        #expect(error.text.contains("fetch.wait.maximum.ms is unknown"))
    }

    @Test func anUnusableValueIsNamed() throws {
        let error = try rejection(["socket.timeout.ms": "soon"])
        #expect(error.text.contains("socket.timeout.ms"))
        #expect(error.text.contains("soon"))
    }

    @Test func propertiesThatDoNotFitTogetherAreNamed() throws {
        let error = try kafkaError {
            _ = try Producer(
                configuration: configuration([
                    "transaction.timeout.ms": "1000", "delivery.timeout.ms": "5000",
                ]))
        }
        #expect(error.text.contains("transaction.timeout.ms"))
    }

    @Test func aShorterTransactionShortensTheDeliveryToo() throws {
        _ = try Producer(configuration: configuration(["transaction.timeout.ms": "2000"]))
    }

    @Test func aConsumerNeedsAGroup() throws {
        let error = try kafkaError {
            let lonely = ClientConfiguration(bootstrapServers: "127.0.0.1:1")
            _ = try Consumer(configuration: lonely) { _, _ in [:] }
        }
        #expect(error.text.contains("group.id"))
    }

    @Test func cooperativeRebalancingAndStaticMembershipCanBeChosen() throws {
        let consumer = try Consumer(
            configuration: configuration([
                "partition.assignment.strategy": "cooperative-sticky", "group.instance.id": "one",
            ])
        ) { _, _ in [:] }
        #expect(consumer.assignment.isEmpty)
    }

    @Test func secretsAreNeverShown() throws {
        let secret = "tell-nobody"
        let secrets = configuration([
            "sasl.password": secret, "ssl.key.password": secret, "ssl.key.pem": secret,
            "sasl.oauthbearer.client.secret": secret, "client.id": "shown",
        ])
        #expect(secrets.description.contains("client.id=shown"))
        #expect(secrets.description.contains("sasl.password=[hidden]"))
        var dumped = ""
        dump(secrets, to: &dumped)
        for text in [secrets.description, "\(secrets)", String(reflecting: secrets), dumped] {
            #expect(!text.contains(secret), "\(text)")
        }
        // The same text in another property, so that librdkafka repeats it in its complaint.
        let error = try rejection(["sasl.password": secret, "socket.timeout.ms": secret])
        #expect(error.text.contains("socket.timeout.ms"))
        #expect(!error.description.contains(secret), "\(error)")
    }
}
