//! The flags of aws-sigv4-proxy, as its parser (kingpin) reads them.

/// The flags that were set.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Flags {
    pub port: Option<String>,
    pub strip: Vec<String>,
    pub custom_headers: Vec<(String, String)>,
    pub duplicate_headers: Vec<String>,
    pub role_arn: Option<String>,
    pub name: Option<String>,
    pub sign_host: Option<String>,
    pub host: Option<String>,
    pub region: Option<String>,
    pub scheme: Option<String>,
    pub unsigned_payload: bool,
    pub no_verify_ssl: bool,
    pub idle_conn_timeout: Option<String>,
    /// The names of all, as in the table.
    pub set: Vec<&'static str>,
    /// The names of flags that the proxy does not have. Their values may be secrets.
    pub unknown: Vec<String>,
    /// The number of arguments without a flag, such as the values of unknown flags.
    pub arguments: usize,
}

/// Flags without a value.
const SWITCHES: [&str; 5] =
    ["--verbose", "--log-failed-requests", "--log-signing-process", "--unsigned-payload", "--no-verify-ssl"];
const WITH_VALUE: [&str; 11] = [
    "--port",
    "--strip",
    "--custom-headers",
    "--duplicate-headers",
    "--role-arn",
    "--name",
    "--sign-host",
    "--host",
    "--region",
    "--upstream-url-scheme",
    "--transport.idle-conn-timeout",
];

impl Flags {
    /// Reads arguments: `--name value`, `--name=value`, `-s value`, `-svalue`, `-v`.
    pub fn parse(arguments: &[String]) -> Result<Self, String> {
        let (mut flags, mut arguments) = (Self::default(), arguments.iter());
        while let Some(argument) = arguments.next() {
            let (name, value) = match argument.split_once('=').filter(|_| argument.starts_with("--")) {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (argument.as_str(), None),
            };
            let (name, value) = match name.strip_prefix("-s").filter(|_| !name.starts_with("--")) {
                Some("") => ("--strip", value),
                Some(rest) => ("--strip", Some(rest.trim_start_matches('=').to_owned())),
                None if name == "-v" => ("--verbose", value),
                None => (name, value),
            };
            if let Some(switch) = SWITCHES.iter().find(|known| **known == name) {
                // kingpin takes no value for a switch
                flags.switch(switch, value.as_deref() != Some("false"));
            } else if let Some(known) = WITH_VALUE.iter().find(|known| **known == name) {
                let value = value.or_else(|| arguments.next().cloned());
                let value = value.ok_or_else(|| format!("`{known}` without its value"))?;
                flags.value(known, value)?;
            } else if name.starts_with('-') {
                flags.unknown.push(name.to_owned());
            } else {
                flags.arguments += 1;
            }
        }
        Ok(flags)
    }

    fn switch(&mut self, name: &'static str, is_on: bool) {
        if !is_on {
            return;
        }
        match name {
            "--unsigned-payload" => self.unsigned_payload = true,
            "--no-verify-ssl" => self.no_verify_ssl = true,
            _ => {}
        }
        self.set.push(name);
    }

    fn value(&mut self, name: &'static str, value: String) -> Result<(), String> {
        match name {
            "--port" => self.port = Some(value),
            "--strip" => self.strip.push(value),
            "--duplicate-headers" => self.duplicate_headers.push(value),
            "--custom-headers" => {
                for pair in value.split(',').filter(|pair| !pair.trim().is_empty()) {
                    let pair = pair.split_once('=').ok_or("`--custom-headers` without `=`")?;
                    self.custom_headers.push((pair.0.trim().to_owned(), pair.1.trim().to_owned()));
                }
            }
            "--role-arn" => self.role_arn = Some(value),
            "--name" => self.name = Some(value),
            "--sign-host" => self.sign_host = Some(value),
            "--host" => self.host = Some(value),
            "--region" => self.region = Some(value),
            "--upstream-url-scheme" => self.scheme = Some(value),
            _ => self.idle_conn_timeout = Some(value),
        }
        if !self.set.contains(&name) {
            self.set.push(name);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_flag_is_read() {
        let arguments = [
            "-v",
            "--name=s3",
            "--region",
            "eu-west-1",
            "-s",
            "Accept",
            "-sCookie",
            "--strip=Host",
            "--custom-headers",
            "a=b, c=d=e",
            "--unsigned-payload",
            "--no-verify-ssl",
            "--what=hush",
            "hush",
        ];
        let flags = Flags::parse(&arguments.map(str::to_owned)).unwrap();
        assert_eq!((flags.name.as_deref(), flags.region.as_deref()), (Some("s3"), Some("eu-west-1")));
        assert_eq!(flags.strip, ["Accept", "Cookie", "Host"]);
        assert_eq!(flags.custom_headers, [("a".into(), "b".into()), ("c".into(), "d=e".into())]);
        assert!(flags.unsigned_payload && flags.no_verify_ssl);
        assert_eq!((&*flags.unknown, flags.arguments), (&["--what".to_owned()][..], 1));
        assert!(Flags::parse(&["--name".to_owned()]).unwrap_err().contains("--name"));
    }
}
