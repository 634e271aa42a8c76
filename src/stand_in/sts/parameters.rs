//! The form of a call to STS, and what its model demands of each parameter ("Request Parameters" of the
//! operations in the STS API reference). `sts.rs` asks for the ones that an operation has.

use std::{collections::HashMap, ops::RangeInclusive, time::Duration};

use super::answers::Refusal;

/// A form.
#[derive(Debug)]
pub struct Parameters(HashMap<String, String>);

/// The role that a form asks for.
#[derive(Debug, PartialEq, Eq)]
pub struct StsRole<'a> {
    pub arn: &'a str,
    pub account: &'a str,
    /// Its name, without its path.
    pub name: &'a str,
    /// How the session shall be called.
    pub session: &'a str,
}

impl Parameters {
    /// Reads a body; what cannot be read is not there.
    pub fn of(body: &[u8]) -> Self {
        Self(form_urlencoded::parse(body).into_owned().collect())
    }

    /// A parameter, if it was sent.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// `RoleArn` and `RoleSessionName`.
    ///
    /// # Errors
    /// One of them is missing or is none.
    pub fn role(&self) -> Result<StsRole<'_>, Refusal> {
        let arn = self.required("RoleArn", "roleArn")?;
        check_length(arn, "roleArn", 20..=2048)?;
        let session = self.required("RoleSessionName", "roleSessionName")?;
        check_length(session, "roleSessionName", 2..=64)?;
        check_letters(session, "roleSessionName", "+=,.@-", r"[\w+=,.@-]*")?;
        let invalid = || Refusal::Validation(format!("{arn} is invalid"));
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
    /// It is no number, or out of range.
    pub fn duration(&self, least: Duration, most: Duration) -> Result<Option<Duration>, Refusal> {
        let Some(given) = self.get("DurationSeconds") else { return Ok(None) };
        let wrong = |constraint: String| Refusal::constraint(Some(given), "durationSeconds", &constraint);
        let asked: Duration = given
            .parse()
            .map(Duration::from_secs)
            .map_err(|_| Refusal::Validation(format!("Value '{given}' is not a number")))?;
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
    /// It is one that there cannot be.
    pub fn external_id(&self) -> Result<Option<&str>, Refusal> {
        let Some(given) = self.get("ExternalId") else { return Ok(None) };
        check_length(given, "externalId", 2..=1224)?;
        check_letters(given, "externalId", "+=,.@:/-", r"[\w+=,.@:\/-]*")?;
        Ok(Some(given))
    }

    /// `WebIdentityToken`.
    ///
    /// # Errors
    /// It is missing or of a length that there cannot be.
    pub fn web_identity_token(&self) -> Result<&str, Refusal> {
        let token = self.required("WebIdentityToken", "webIdentityToken")?;
        // a token is a secret: what is said of it must not repeat it
        let length = token.len();
        if !(4..=20_000).contains(&length) {
            return Err(Refusal::Validation(format!("webIdentityToken has {length} characters")));
        }
        Ok(token)
    }

    fn required(&self, name: &str, parameter: &str) -> Result<&str, Refusal> {
        self.get(name).ok_or_else(|| Refusal::constraint(None, parameter, "Member must not be null"))
    }
}

fn check_length(value: &str, parameter: &str, allowed: RangeInclusive<usize>) -> Result<(), Refusal> {
    let length = value.chars().count();
    let constraint = if length < *allowed.start() {
        format!("Member must have length greater than or equal to {}", allowed.start())
    } else if length > *allowed.end() {
        format!("Member must have length less than or equal to {}", allowed.end())
    } else {
        return Ok(());
    };
    Err(Refusal::constraint(Some(value), parameter, &constraint))
}

/// `\w` and these.
fn check_letters(value: &str, parameter: &str, others: &str, pattern: &str) -> Result<(), Refusal> {
    if value.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_' || others.contains(letter))
    {
        return Ok(());
    }
    let constraint = format!("Member must satisfy regular expression pattern: {pattern}");
    Err(Refusal::constraint(Some(value), parameter, &constraint))
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
    fn a_session_name_keeps_to_its_pattern() {
        for (name, why) in [
            ("a", "length greater than or equal to 2"),
            (&*"a".repeat(65), "length less than or equal to 64"),
            ("pod/1", r"[\w+=,.@-]*"),
            ("pod:1", r"[\w+=,.@-]*"),
            ("pod 1", r"[\w+=,.@-]*"),
            ("pöd", r"[\w+=,.@-]*"),
        ] {
            let parameters = form(&[("RoleArn", ROLE), ("RoleSessionName", name)]);
            let Err(Refusal::Validation(message)) = parameters.role() else { panic!("{name}") };
            assert!(message.contains(why) && message.contains("'roleSessionName'"), "{message}");
        }
        let Err(Refusal::Validation(message)) = form(&[("RoleArn", ROLE)]).role() else { panic!() };
        assert!(message.contains("Value null at 'roleSessionName'"), "{message}");
    }

    #[test]
    fn what_is_no_arn_of_a_role_is_refused() {
        for arn in [
            "arn:aws:iam::123456789012:user/reader",
            "arn:aws:sts::123456789012:assumed-role/a/b",
            "arn:aws:iam::123456789012:role/",
            "no arn at all, but long enough",
            "short",
        ] {
            let parameters = form(&[("RoleArn", arn), ("RoleSessionName", "pod")]);
            assert!(matches!(parameters.role(), Err(Refusal::Validation(_))), "{arn}");
        }
    }

    #[test]
    fn a_duration_and_an_external_id_keep_to_their_limits() {
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
        fn no_form_makes_it_panic_and_no_token_is_repeated(
            arn in "(arn|:|aws|iam|[0-9]{12}|role/|/|[a-zé]){0,12}",
            others in prop::collection::vec((prop::sample::select(vec!["RoleSessionName", "ExternalId", "DurationSeconds", "RoleArn"]), any::<String>()), 0..4),
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
        fn no_body_makes_it_panic(body in prop::collection::vec(any::<u8>(), 0..48)) {
            let _ = Parameters::of(&body).role();
        }
    }
}
