//! The ids by which AWS's support finds a call. `answers.rs` and `lambda.rs` put them on what they answer.

/// A request's id: a random UUID (RFC 9562, version 4).
pub fn request_id() -> String {
    const VERSION: u128 = 0x4 << 76;
    const VARIANT: u128 = 0x2 << 62;
    let random = fastrand::u128(..) & !(0xf << 76) & !(0x3 << 62);
    let id = format!("{:032x}", random | VERSION | VARIANT);
    format!("{}-{}-{}-{}-{}", &id[..8], &id[8..12], &id[12..16], &id[16..20], &id[20..])
}

pub fn trace_id() -> String {
    format!("Root=1-{:08x}-{:024x};Sampled=0", fastrand::u32(..), fastrand::u128(..) >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_id_is_a_random_uuid() {
        let id = request_id();
        let lengths: Vec<usize> = id.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12], "{id}");
        assert_eq!(&id[14..15], "4", "{id}");
        assert!("89ab".contains(&id[19..20]), "{id}");
        assert_ne!(id, request_id());
    }

    #[test]
    fn a_trace_id_has_the_lengths_of_x_rays() {
        let id = trace_id();
        let root = id.strip_prefix("Root=1-").and_then(|id| id.strip_suffix(";Sampled=0")).unwrap();
        let lengths: Vec<usize> = root.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 24], "{id}");
    }
}
