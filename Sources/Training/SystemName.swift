import Model

/// What can be trained and evaluated: UHAN, its ablations, and the systems it is compared with.
package enum SystemName: String, Sendable, Codable, CaseIterable {
    /// The mean of the user's training posts.
    case hisAve = "hisave"
    /// The mean of the user's training and validation posts: it knows more than those that need the
    /// validation posts to stop by.
    case hisAveValidation = "hisave-validation"
    /// Support vector regression on hand-made features.
    case svr
    /// Deep multi-modal fusion: mean image feature and last LSTM state, then dense layers.
    case dmf
    /// The same with the user's vector beside them.
    case dmfUser = "dmf-user"
    /// UHAN without the user.
    case dualAtt = "dualatt"
    case uhan
    case uhanImage = "uhan-image"
    case uhanText = "uhan-text"
    /// Means in place of attention within a modality.
    case uhanNoIntra = "uhan-no-intra"
    /// A plain sum in place of attention between the modalities.
    case uhanNoInter = "uhan-no-inter"
    /// The user guides no attention, but stays in the prediction.
    case uhanNoUserAttention = "uhan-no-user-attention"
    /// The user guides the attention, but z is without u W_r.
    case uhanNoUserTerm = "uhan-no-user-term"
}

extension SystemName {
    /// The network that learns by gradients, and what of UHAN it has; nil for those that are not
    /// one.
    package var network: (kind: Learner.Kind, parts: BundleConfiguration.Parts)? {
        var parts = BundleConfiguration.Parts.all
        switch self {
        case .hisAve, .hisAveValidation, .svr: return nil
        case .dmf: return (.fusion(usesUser: false), parts)
        case .dmfUser: return (.fusion(usesUser: true), parts)
        case .dualAtt:
            parts.user_in_attention = false
            parts.user_term = false
        case .uhan: break
        case .uhanImage: parts.reads_text = false
        case .uhanText: parts.reads_image = false
        case .uhanNoIntra: parts.intra_attention = false
        case .uhanNoInter: parts.inter_attention = false
        case .uhanNoUserAttention: parts.user_in_attention = false
        case .uhanNoUserTerm: parts.user_term = false
        }
        return (.attention, parts)
    }
}
