//! The path of a request to a service that signs it as sent, rewritten to the form that AWS compares.
//!
//! Amazon S3 decodes the path into the name of an object and encodes it once with strict escapes for the
//! signature (Amazon S3 API reference, "Signature calculations for the Authorization header"). A path in that
//! form is the same on both sides, whatever a hop does with needless escapes.

use super::{is_unreserved, push_strict_part};

/// A `+` in a path is itself.
const PLUS: &str = "%2B";

/// Rewrites each segment of a path with strict escapes. Slashes, empty segments and dots stay, and so does
/// `%2F`, which is a part of a name.
pub fn make_strict(path: &mut String) {
    if path.bytes().all(|byte| is_unreserved(byte) || byte == b'/') {
        return;
    }
    let mut strict = String::with_capacity(path.len() + 16);
    for (index, segment) in path.split('/').enumerate() {
        if index > 0 {
            strict.push('/');
        }
        push_strict_part(segment, PLUS, &mut strict);
    }
    *path = strict;
}

#[cfg(test)]
mod tests {
    use percent_encoding::percent_decode_str;
    use proptest::prelude::*;

    use super::*;

    fn strict(path: &str) -> String {
        let mut text = path.to_owned();
        make_strict(&mut text);
        text
    }

    #[test]
    fn each_byte_of_a_segment_gets_one_form_and_slashes_stay() {
        for (path, expected) in [
            ("/", "/"),
            ("/a//b/./../c/", "/a//b/./../c/"),
            ("/a%2fb%2F", "/a%2Fb%2F"),
            ("/a+b%2Bc", "/a%2Bb%2Bc"),
            ("/test$file.text", "/test%24file.text"),
            ("/%7e%61*'()!;=@:&,", "/~a%2A%27%28%29%21%3B%3D%40%3A%26%2C"),
            ("/é%c3%A9%20", "/%C3%A9%C3%A9%20"),
            ("/%25%2520", "/%25%2520"),
        ] {
            assert_eq!(strict(path), expected, "{path}");
        }
    }

    proptest! {
        #[test]
        fn a_strict_path_names_the_same_object_and_stays(
            path in "(/|[a-c+.~!$&'()*,;=:@-]|%[0-7][0-9a-fA-F]|%[c-f][0-9]|é){0,24}",
        ) {
            let once = strict(&path);
            prop_assert_eq!(strict(&once), once.clone());
            let names = |path: &str| -> Vec<Vec<u8>> {
                path.split('/').map(|segment| percent_decode_str(segment).collect()).collect()
            };
            prop_assert_eq!(names(&once), names(&path));
        }

        #[test]
        fn no_path_makes_it_panic(path in any::<String>()) {
            let _ = strict(&path);
        }
    }
}
