//! The form of a call to STS, and the checks of its parameters ("Request Parameters" of the operations in the
//! STS API reference).

use std::{collections::HashMap, ops::RangeInclusive, time::Duration};

use super::answers::StsError;

#[derive(Debug)]
pub struct Parameters(HashMap<String, String>);

/// The role to assume.
#[derive(Debug, PartialEq, Eq)]
pub struct StsRole<'a> {
    pub arn: &'a str,
    pub account: &'a str,
    /// The role's name, without its path.
    pub name: &'a str,
    /// The session's name.
    pub session: &'a str,
}

impl Parameters {
    /// Parses a body; ignores its invalid parts.
    pub fn of(body: &[u8]) -> Self {
        Self(form_urlencoded::parse(body).into_owned().collect())
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// `RoleArn` and `RoleSessionName`.
    ///
    /// # Errors
    /// One of them is missing or invalid.
    pub fn role(&self) -> Result<StsRole<'_>, StsError> {
        let arn = self.required("RoleArn", "roleArn")?;
        check_length(arn, "roleArn", 20..=2048)?;
        let session = self.required("RoleSessionName", "roleSessionName")?;
        check_length(session, "roleSessionName", 2..=64)?;
        check_letters(session, "roleSessionName", "+=,.@-", r"[\w+=,.@-]*")?;
        let invalid = || StsError::Validation(format!("{arn} is invalid"));
        let parts: Vec<&str> = arn.splitn(6, ':').collect();
        let ["arn", partition, "iam", "", account, resource] = parts[..] else { return Err(invalid()) };
        let path = resource.strip_prefix("role/").ok_or_else(invalid)?;
        let name = path.rsplit('/').next().filter(|name| !name.is_empty()).ok_or_else(invalid)?;
        if !partition.starts_with("aws") {
            return Err(invalid());
        }
        Ok(StsRole { arn, account, name, session })
    }

    /// `DurationSeconds`.
    ///
    /// # Errors
    /// The value is not a number, or out of range.
    pub fn duration(&self, least: Duration, most: Duration) -> Result<Option<Duration>, StsError> {
        let Some(given) = self.get("DurationSeconds") else { return Ok(None) };
        let wrong = |constraint: String| StsError::constraint(Some(given), "durationSeconds", &constraint);
        let asked: Duration = given
            .parse()
            .map(Duration::from_secs)
            .map_err(|_| StsError::Validation(format!("Value '{given}' is not a number")))?;
        if asked < least {
            let least = least.as_secs();
            return Err(wrong(format!("Member must have value greater than or equal to {least}")));
        }
        if asked > most {
            return Err(wrong(format!("Member must have value less than or equal to {}", most.as_secs())));
        }
        Ok(Some(asked))
    }

    /// `ExternalId`.
    ///
    /// # Errors
    /// The value is invalid.
    pub fn external_id(&self) -> Result<Option<&str>, StsError> {
        let Some(given) = self.get("ExternalId") else { return Ok(None) };
        check_length(given, "externalId", 2..=1224)?;
        check_letters(given, "externalId", "+=,.@:/-", r"[\w+=,.@:\/-]*")?;
        Ok(Some(given))
    }

    /// `WebIdentityToken`.
    ///
    /// # Errors
    /// The token is missing, or has an invalid length.
    pub fn web_identity_token(&self) -> Result<&str, StsError> {
        let token = self.required("WebIdentityToken", "webIdentityToken")?;
        // a token is a secret: the error must not contain it
        let length = token.len();
        if !(4..=20_000).contains(&length) {
            return Err(StsError::Validation(format!("webIdentityToken has {length} characters")));
        }
        Ok(token)
    }

    fn required(&self, name: &str, parameter: &str) -> Result<&str, StsError> {
        self.get(name).ok_or_else(|| StsError::constraint(None, parameter, "Member must not be null"))
    }
}

fn check_length(value: &str, parameter: &str, allowed: RangeInclusive<usize>) -> Result<(), StsError> {
    let length = value.chars().count();
    let constraint = if length < *allowed.start() {
        format!("Member must have length greater than or equal to {}", allowed.start())
    } else if length > *allowed.end() {
        format!("Member must have length less than or equal to {}", allowed.end())
    } else {
        return Ok(());
    };
    Err(StsError::constraint(Some(value), parameter, &constraint))
}

/// Allows `\w` and the characters of `others`.
fn check_letters(value: &str, parameter: &str, others: &str, pattern: &str) -> Result<(), StsError> {
    if value.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_' || others.contains(letter))
    {
        return Ok(());
    }
    let constraint = format!("Member must satisfy regular expression pattern: {pattern}");
    Err(StsError::constraint(Some(value), parameter, &constraint))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ROLE: &str = "arn:aws:iam::123456789012:role/team/reader";

    fn form(pairs: &[(&str, &str)]) -> Parameters {
        Parameters(pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect())
    }

    #[test]
    fn a_form_is_decoded() {
        let parameters = Parameters::of(b"Action=AssumeRole&RoleArn=arn%3Aaws+x");
        assert_eq!(parameters.get("Action"), Some("AssumeRole"));
        assert_eq!(parameters.get("RoleArn"), Some("arn:aws x"));
        assert_eq!(parameters.get("Version"), None);
    }

    #[test]
    fn a_roles_name_is_the_last_part_of_its_path() {
        let parameters = form(&[("RoleArn", ROLE), ("RoleSessionName", "pod_1+=,.@-")]);
        let role = parameters.role().unwrap();
        assert_eq!((role.account, role.name, role.session), ("123456789012", "reader", "pod_1+=,.@-"));
    }

    #[test]
    fn a_session_name_must_match_its_pattern() {
        for (name, why) in [
            ("a", "length greater than or equal to 2"),
            (&*"a".repeat(65), "length less than or equal to 64"),
            ("pod/1", r"[\w+=,.@-]*"),
            ("pod:1", r"[\w+=,.@-]*"),
            ("pod 1", r"[\w+=,.@-]*"),
            ("pöd", r"[\w+=,.@-]*"),
        ] {
            let parameters = form(&[("RoleArn", ROLE), ("RoleSessionName", name)]);
            let Err(StsError::Validation(message)) = parameters.role() else { panic!("{name}") };
            assert!(message.contains(why) && message.contains("'roleSessionName'"), "{message}");
        }
        let Err(StsError::Validation(message)) = form(&[("RoleArn", ROLE)]).role() else { panic!() };
        assert!(message.contains("Value null at 'roleSessionName'"), "{message}");
    }

    #[test]
    fn an_arn_must_name_a_role() {
        for arn in [
            "arn:aws:iam::123456789012:user/reader",
            "arn:aws:sts::123456789012:assumed-role/a/b",
            "arn:aws:iam::123456789012:role/",
            "no arn at all, but long enough",
            "short",
        ] {
            let parameters = form(&[("RoleArn", arn), ("RoleSessionName", "pod")]);
            assert!(matches!(parameters.role(), Err(StsError::Validation(_))), "{arn}");
        }
    }

    #[test]
    fn a_duration_and_an_external_id_have_limits() {
        let (least, most) = (Duration::from_mins(15), Duration::from_hours(12));
        let duration = |text: &str| form(&[("DurationSeconds", text)]).duration(least, most);
        assert_eq!(duration("900"), Ok(Some(least)));
        assert_eq!(duration("43200"), Ok(Some(most)));
        for wrong in ["899", "43201", "-1", "1h", ""] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
        assert_eq!(form(&[]).duration(least, most), Ok(None));
        assert_eq!(form(&[("ExternalId", "a:b/c")]).external_id(), Ok(Some("a:b/c")));
        assert!(form(&[("ExternalId", "a b")]).external_id().is_err());
        assert!(form(&[("ExternalId", "a")]).external_id().is_err());
    }

    proptest! {
        #[test]
        fn no_form_causes_a_panic(
            arn in "(arn|:|aws|iam|[0-9]{12}|role/|/|[a-zé]){0,12}",
            others in prop::collection::vec((
                prop::sample::select(vec!["RoleSessionName", "ExternalId", "DurationSeconds", "RoleArn"]),
                any::<String>(),
            ), 0..4),
            token in "hush.{0,8}",
        ) {
            let mut form = form_urlencoded::Serializer::new(String::new());
            form.append_pair("RoleArn", &arn).append_pair("WebIdentityToken", &token).extend_pairs(&others);
            let parameters = Parameters::of(form.finish().as_bytes());
            let (least, most) = (Duration::from_mins(15), Duration::from_hours(12));
            let _ = (parameters.role(), parameters.external_id(), parameters.duration(least, most));
            prop_assert_eq!(parameters.web_identity_token(), Ok(&*token));
        }

        #[test]
        fn no_body_causes_a_panic(body in prop::collection::vec(any::<u8>(), 0..48)) {
            let _ = Parameters::of(&body).role();
        }
    }
}
