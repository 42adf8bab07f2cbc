/// Whether librdkafka knows the properties and takes their values, without a client: what only
/// shows when one is made (files of certificates, for one) is not found.
extension ClientConfiguration {
    package func checkConsumer() throws(KafkaError) {
        _ = try ConfigurationHandle(consumerProperties(), secrets: Secrets(in: properties))
    }

    package func checkProducer() throws(KafkaError) {
        _ = try ConfigurationHandle(producerProperties(), secrets: Secrets(in: properties))
    }
}
