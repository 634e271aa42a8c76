//! The endpoints of AWS's services: service and region by the name of a host.
//!
//! The sources are the pages of each service in the AWS General Reference ("Service endpoints and quotas",
//! <https://docs.aws.amazon.com/general/latest/gr/aws-service-information.html>), and `endpointPrefix` and
//! `signingName` in AWS's service models (botocore).

use super::aws_hosts::{is_region, without_domain};

/// The service that an AWS host belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AwsEndpoint<'h> {
    /// The service's name in signatures.
    pub service: &'static str,
    /// The kind of host, with its article.
    pub kind: &'static str,
    /// `None` for a name without a region.
    pub region: Option<&'h str>,
}

/// The place of the region in a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RegionPlace {
    /// `SERVICE.REGION.amazonaws.com`
    Behind,
    /// `REGION.SERVICE.amazonaws.com`, or as above.
    Either,
}

use RegionPlace::{Behind, Either};

/// Labels of names, the service's name in signatures, the kind of host, and the place of the region. A label
/// may also end in `-fips`.
type Row = (&'static [&'static str], &'static str, &'static str, RegionPlace);

#[rustfmt::skip]
const ROWS: &[Row] = &[
    (&["execute-api"], "execute-api", "an endpoint of API Gateway", Behind),
    (&["lambda-url"], "lambda", "a Function URL", Behind),
    (&["lambda"], "lambda", "an endpoint of Lambda", Behind),
    (&["s3", "s3-accelerate", "s3-accesspoint", "s3-control"], "s3", "an endpoint of Amazon S3", Behind),
    (&["s3-object-lambda"], "s3-object-lambda", "an endpoint of S3 Object Lambda", Behind),
    (&["s3-outposts"], "s3-outposts", "an endpoint of S3 on Outposts", Behind),
    (&["s3express-control"], "s3express", "an endpoint of S3 Express One Zone", Behind),
    (&["s3tables"], "s3tables", "an endpoint of S3 Tables", Behind),
    (&["s3vectors"], "s3vectors", "an endpoint of S3 Vectors", Behind),
    (&["es", "aos"], "es", "an endpoint of OpenSearch Service", Either),
    (&["aoss"], "aoss", "an endpoint of OpenSearch Serverless", Either),
    (&["osis"], "osis", "an endpoint of OpenSearch Ingestion", Either),
    (&["aps", "aps-workspaces"], "aps", "an endpoint of Managed Service for Prometheus", Behind),
    (&["appsync", "appsync-api", "appsync-realtime-api"], "appsync", "an endpoint of AppSync", Behind),
    (&["vpc-lattice-svcs"], "vpc-lattice-svcs", "a service of VPC Lattice", Behind),
    (&["vpc-lattice"], "vpc-lattice", "an endpoint of VPC Lattice", Behind),
    (&["bedrock", "bedrock-runtime", "bedrock-agent", "bedrock-agent-runtime", "bedrock-data-automation",
        "bedrock-data-automation-runtime"], "bedrock", "an endpoint of Bedrock", Behind),
    // as OpenAI's and Anthropic's clients sign
    (&["bedrock-mantle"], "bedrock-mantle", "an endpoint of Bedrock Mantle", Behind),
    (&["bedrock-agentcore", "bedrock-agentcore-control"], "bedrock-agentcore",
        "an endpoint of Bedrock AgentCore", Behind),
    (&["sagemaker"], "sagemaker", "an endpoint of SageMaker", Behind),
    (&["mediastore"], "mediastore", "an endpoint of MediaStore", Behind),
    (&["ebs"], "ebs", "an endpoint of EBS", Behind),
    (&["neptune"], "neptune-db", "an endpoint of Neptune", Either),
    (&["timestream"], "timestream", "an endpoint of Timestream", Behind),
    (&["dynamodb"], "dynamodb", "an endpoint of DynamoDB", Behind),
    (&["kinesis", "control-kinesis", "data-kinesis"], "kinesis", "an endpoint of Kinesis", Behind),
    (&["firehose"], "firehose", "an endpoint of Data Firehose", Behind),
    (&["sqs"], "sqs", "an endpoint of SQS", Behind),
    (&["sns"], "sns", "an endpoint of SNS", Behind),
    (&["events"], "events", "an endpoint of EventBridge", Behind),
    (&["states", "sync-states"], "states", "an endpoint of Step Functions", Behind),
    (&["scheduler"], "scheduler", "an endpoint of EventBridge Scheduler", Behind),
    (&["secretsmanager"], "secretsmanager", "an endpoint of Secrets Manager", Behind),
    (&["ssm"], "ssm", "an endpoint of Systems Manager", Behind),
    (&["kms"], "kms", "an endpoint of KMS", Behind),
    (&["sts"], "sts", "an endpoint of STS", Behind),
    (&["logs"], "logs", "an endpoint of CloudWatch Logs", Behind),
    (&["monitoring"], "monitoring", "an endpoint of CloudWatch", Behind),
    (&["xray"], "xray", "an endpoint of X-Ray", Behind),
    (&["appconfig", "appconfigdata"], "appconfig", "an endpoint of AppConfig", Behind),
    (&["athena"], "athena", "an endpoint of Athena", Behind),
    (&["glue"], "glue", "an endpoint of Glue", Behind),
    (&["rds-data"], "rds-data", "an endpoint of the RDS Data API", Behind),
    (&["redshift-data"], "redshift-data", "an endpoint of the Redshift Data API", Behind),
    (&["email"], "ses", "an endpoint of SES", Behind),
    (&["cognito-idp"], "cognito-idp", "an endpoint of Cognito", Behind),
    (&["comprehend"], "comprehend", "an endpoint of Comprehend", Behind),
    (&["polly"], "polly", "an endpoint of Polly", Behind),
    (&["rekognition"], "rekognition", "an endpoint of Rekognition", Behind),
    (&["textract"], "textract", "an endpoint of Textract", Behind),
    (&["transcribe"], "transcribe", "an endpoint of Transcribe", Behind),
    (&["translate"], "translate", "an endpoint of Translate", Behind),
];

/// The beginning of labels with an availability zone, such as `s3express-use1-az4` (Amazon S3 user guide,
/// "Endpoints and gateway VPC endpoints").
const S3_EXPRESS: &str = "s3express-";
/// The beginning of labels with a region, such as `s3-us-west-2` (Amazon S3 user guide, "Legacy endpoints").
const S3_LEGACY: &str = "s3-";

/// The endpoint of a host, with or without a port; `None` for a host whose name does not say which it is.
pub fn endpoint(host: &str) -> Option<AwsEndpoint<'_>> {
    let name = host.split_once(':').map_or(host, |(name, _)| name).trim_end_matches('.');
    let mut labels = without_domain(name)?.rsplit('.').peekable();
    labels.next_if(|label| label.eq_ignore_ascii_case("vpce"));
    let region = labels.next_if(|label| is_region(label));
    labels.next_if(|label| label.eq_ignore_ascii_case("dualstack"));
    let label = labels.next()?;
    if let Some(region) = strip_prefix(label, S3_LEGACY).filter(|region| is_region(region)) {
        return endpoint_of("s3", Some(region));
    }
    if strip_prefix(label, S3_EXPRESS).is_some_and(|zone| !zone.eq_ignore_ascii_case("control")) {
        return endpoint_of("s3express-control", region);
    }
    let found = endpoint_of(label, region)?;
    let is_first = region.is_none() && row(label).is_some_and(|(.., place)| *place == Either);
    let region = if is_first { labels.next().filter(|label| is_region(label)) } else { region };
    Some(AwsEndpoint { region, ..found })
}

fn endpoint_of<'h>(label: &str, region: Option<&'h str>) -> Option<AwsEndpoint<'h>> {
    row(label).map(|(_, service, kind, _)| AwsEndpoint { service, kind, region })
}

fn row(label: &str) -> Option<&'static Row> {
    let end = label.len().saturating_sub("-fips".len());
    let is_fips = label.get(end..).is_some_and(|end| end.eq_ignore_ascii_case("-fips"));
    let label = if is_fips { &label[..end] } else { label };
    ROWS.iter().find(|(labels, ..)| labels.iter().any(|own| own.eq_ignore_ascii_case(label)))
}

/// The rest of a label, whose case does not matter.
fn strip_prefix<'l>(label: &'l str, prefix: &str) -> Option<&'l str> {
    let (beginning, rest) = label.split_at_checked(prefix.len())?;
    beginning.eq_ignore_ascii_case(prefix).then_some(rest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_host_of_aws_has_its_service_and_its_region() {
        for (host, service, region) in [
            ("x9.execute-api.eu-west-1.amazonaws.com", "execute-api", "eu-west-1"),
            ("x9.execute-api-fips.us-gov-west-1.amazonaws.com", "execute-api", "us-gov-west-1"),
            ("vpce-1.execute-api.us-east-1.vpce.amazonaws.com:443", "execute-api", "us-east-1"),
            ("abc.lambda-url.eu-west-1.on.aws", "lambda", "eu-west-1"),
            ("lambda.cn-north-1.amazonaws.com.cn", "lambda", "cn-north-1"),
            ("s3.eu-central-1.amazonaws.com", "s3", "eu-central-1"),
            ("a.b.s3.eu-central-1.amazonaws.com", "s3", "eu-central-1"),
            ("us-east-1.s3.eu-central-1.amazonaws.com", "s3", "eu-central-1"),
            ("a.s3.dualstack.eu-central-1.amazonaws.com", "s3", "eu-central-1"),
            ("a.s3-fips.dualstack.us-east-2.amazonaws.com", "s3", "us-east-2"),
            ("s3-us-west-2.amazonaws.com", "s3", "us-west-2"),
            ("ap-1.s3-accesspoint.eu-west-1.amazonaws.com", "s3", "eu-west-1"),
            ("123456789012.s3-control.eu-west-1.amazonaws.com", "s3", "eu-west-1"),
            ("bucket.vpce-1.s3.us-east-1.vpce.amazonaws.com", "s3", "us-east-1"),
            ("ap-1.s3-object-lambda.us-east-1.amazonaws.com", "s3-object-lambda", "us-east-1"),
            ("ap-1.op-1.s3-outposts.us-east-1.amazonaws.com", "s3-outposts", "us-east-1"),
            ("b--use1-az4--x-s3.s3express-use1-az4.us-east-1.amazonaws.com", "s3express", "us-east-1"),
            ("s3express-control.us-east-1.amazonaws.com", "s3express", "us-east-1"),
            ("search-d-abc.eu-west-1.es.amazonaws.com", "es", "eu-west-1"),
            ("search-d-abc.aos.eu-west-1.on.aws", "es", "eu-west-1"),
            ("es.eu-west-1.amazonaws.com", "es", "eu-west-1"),
            ("abc.us-east-1.aoss.amazonaws.com", "aoss", "us-east-1"),
            ("abc.us-gov-west-1.aoss-fips.amazonaws.com", "aoss", "us-gov-west-1"),
            ("aps-workspaces.us-west-2.amazonaws.com", "aps", "us-west-2"),
            ("abc.appsync-api.us-west-2.amazonaws.com", "appsync", "us-west-2"),
            ("svc-0.7d67968.vpc-lattice-svcs.us-east-2.on.aws", "vpc-lattice-svcs", "us-east-2"),
            ("bedrock-runtime.us-east-1.amazonaws.com", "bedrock", "us-east-1"),
            ("bedrock-mantle.us-east-1.api.aws", "bedrock-mantle", "us-east-1"),
            ("bedrock-runtime-fips.us-east-1.amazonaws.com", "bedrock", "us-east-1"),
            ("gw-1.gateway.bedrock-agentcore.us-east-1.amazonaws.com", "bedrock-agentcore", "us-east-1"),
            ("runtime.sagemaker.us-east-1.amazonaws.com", "sagemaker", "us-east-1"),
            ("c.cluster-1.us-east-1.neptune.amazonaws.com:8182", "neptune-db", "us-east-1"),
            ("query.timestream.us-east-1.amazonaws.com", "timestream", "us-east-1"),
            ("email.us-east-1.api.aws", "ses", "us-east-1"),
            ("monitoring.eusc-de-east-1.amazonaws.eu", "monitoring", "eusc-de-east-1"),
            ("SQS.EU-West-1.AmazonAWS.com.", "sqs", "EU-West-1"),
        ] {
            let found = endpoint(host).unwrap_or_else(|| panic!("{host}"));
            assert_eq!((found.service, found.region), (service, Some(region)), "{host}");
        }
    }

    #[test]
    fn a_name_without_a_region_has_a_service_alone() {
        for (host, service) in [
            ("bucket.s3.amazonaws.com", "s3"),
            ("eu-west-1.s3.amazonaws.com", "s3"),
            ("bucket.s3-accelerate.dualstack.amazonaws.com", "s3"),
            ("sts.amazonaws.com", "sts"),
        ] {
            let found = endpoint(host).unwrap();
            assert_eq!((found.service, found.region), (service, None), "{host}");
        }
    }

    #[test]
    fn a_host_that_does_not_say_its_service_is_no_endpoint() {
        for host in [
            "",
            "amazonaws.com",
            "localhost",
            "api.example.com",
            "s3.eu-west-1.example.com",
            "a.lambda-url.example",
            "x.m.accesspoint.s3-global.amazonaws.com",
            "bucket.s3-website.eu-west-1.amazonaws.com",
            "d111111abcdef8.cloudfront.net",
            "internal-lb-1.eu-west-1.elb.amazonaws.com",
            "ec2-1-2-3-4.eu-west-1.compute.amazonaws.com",
            "eu-west-1.notamazonaws.com",
        ] {
            assert_eq!(endpoint(host), None, "{host}");
        }
    }

    #[test]
    fn a_label_has_one_row() {
        let labels: Vec<&str> = ROWS.iter().flat_map(|(labels, ..)| labels.iter().copied()).collect();
        for (index, label) in labels.iter().enumerate() {
            assert!(!labels[..index].contains(label), "{label}");
        }
    }

    proptest! {
        #[test]
        fn no_host_makes_it_panic(
            text in any::<String>(),
            labels in prop::collection::vec(prop::sample::select(vec![
                "s3", "s3-", "s3express-", "-fips", "vpce", "dualstack", "us-east-1", "é", "", "es", "on.aws",
                "amazonaws.com",
            ]), 0..6),
        ) {
            let _ = (endpoint(&text), endpoint(&labels.join(".")));
            let _ = endpoint(&format!("{text}.amazonaws.com"));
        }
    }
}
