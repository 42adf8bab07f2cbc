/// A self-signed certificate for the name photos.invalid, valid until 2126, and its key. They guard
/// nothing: made for these tests with
/// `openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 36500
/// -subj /CN=photos.invalid -addext subjectAltName=DNS:photos.invalid`.
enum Certificates {
    static let photosInvalid = """
        -----BEGIN CERTIFICATE-----
        MIIBpTCCAUqgAwIBAgIUGMh/36JvkJ705NiJg6HbJvsuJUEwCgYIKoZIzj0EAwIw
        GTEXMBUGA1UEAwwOcGhvdG9zLmludmFsaWQwIBcNMjYxMTIzMTQxMzEzWhgPMjEy
        NjEwMzAxNDEzMTNaMBkxFzAVBgNVBAMMDnBob3Rvcy5pbnZhbGlkMFkwEwYHKoZI
        zj0CAQYIKoZIzj0DAQcDQgAEub/3nyzv0qcx/S0l+g8wIHy61SKWQpeUYhslivUS
        awEB1PMtt9CKuy8f1zy9+OMF9kMEG0bZHyIwH1mhCgdU8KNuMGwwHQYDVR0OBBYE
        FGa7sxnbHPD93eotbWoqSHVgpBCFMB8GA1UdIwQYMBaAFGa7sxnbHPD93eotbWoq
        SHVgpBCFMA8GA1UdEwEB/wQFMAMBAf8wGQYDVR0RBBIwEIIOcGhvdG9zLmludmFs
        aWQwCgYIKoZIzj0EAwIDSQAwRgIhAIFOPlX7K6pt2yZ6jLsOu2BPRZrEszCtmcr8
        jEZHz54oAiEA2xlkk3StZjXi3ktX3GlQa599dhEJlb20a+VVbKyhMA8=
        -----END CERTIFICATE-----
        """
    static let photosInvalidKey = """
        -----BEGIN PRIVATE KEY-----
        MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgCAvTJblAKg3v84oJ
        pYM+Mlq5vHCuxq1KgkTLlF52HWChRANCAAS5v/efLO/SpzH9LSX6DzAgfLrVIpZC
        l5RiGyWK9RJrAQHU8y230Iq7Lx/XPL344wX2QwQbRtkfIjAfWaEKB1Tw
        -----END PRIVATE KEY-----
        """
}
