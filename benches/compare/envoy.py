"""Envoy's settings: 29020 signs, 29021 signs and goes on over TLS, 29022 calls a function."""

import json

FILTERS = "type.googleapis.com/envoy.extensions.filters"
SIGNING = {
    "name": "envoy.filters.http.aws_request_signing",
    "typed_config": {
        "@type": f"{FILTERS}.http.aws_request_signing.v3.AwsRequestSigning",
        "service_name": "execute-api",
        "region": "us-east-1",
        "host_rewrite": "abc.execute-api.us-east-1.amazonaws.com",
    },
}
FUNCTION = {
    "name": "envoy.filters.http.aws_lambda",
    "typed_config": {
        "@type": f"{FILTERS}.http.aws_lambda.v3.Config",
        "arn": "arn:aws:lambda:us-east-1:123456789012:function:hello",
        "payload_passthrough": False,
    },
}
ROUTER = {
    "name": "envoy.filters.http.router",
    "typed_config": {"@type": f"{FILTERS}.http.router.v3.Router"},
}


def listener(port: int, cluster: str, own: dict) -> dict:
    connections = {
        "@type": f"{FILTERS}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": str(port),
        "http_filters": [own, ROUTER],
        "route_config": {
            "virtual_hosts": [
                {"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": cluster}}]}
            ]
        },
    }
    manager = {"name": "envoy.filters.network.http_connection_manager", "typed_config": connections}
    return {"address": address(port), "filter_chains": [{"filters": [manager]}]}


def address(port: int) -> dict:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def cluster(name: str, port: int, **more: dict) -> dict:
    endpoint = {"endpoint": {"address": address(port)}}
    most = {"max_connections": 4096, "max_pending_requests": 4096, "max_requests": 4096}
    return {
        "name": name,
        "type": "STATIC",
        "circuit_breakers": {"thresholds": [most]},
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
        **more,
    }


def settings() -> str:
    tls = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"
    secured = {"name": "envoy.transport_sockets.tls", "typed_config": {"@type": tls, "sni": "localhost"}}
    gateway = {"filter_metadata": {"com.amazonaws.lambda": {"egress_gateway": True}}}
    return json.dumps(
        {
            "static_resources": {
                "listeners": [
                    listener(29020, "plain", SIGNING),
                    listener(29021, "secured", SIGNING),
                    listener(29022, "function", FUNCTION),
                ],
                "clusters": [
                    cluster("plain", 29001),
                    cluster("secured", 29002, transport_socket=secured),
                    cluster("function", 29003, metadata=gateway),
                ],
            }
        }
    )
