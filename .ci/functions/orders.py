"""A function for `.ci/functions/run`: returns its event and context, or fails as the event says."""

import json
import os


def handler(event, context):
    print("handles", context.aws_request_id)
    if "httpMethod" in event or "rawPath" in event:
        return {"statusCode": 201, "headers": {"x-version": VERSION}, "body": json.dumps(event)}
    if event.get("fail"):
        raise ValueError("as the event says")
    if event.get("exit"):
        os._exit(9)
    return {
        "event": event,
        "version": VERSION,
        "arn": context.invoked_function_arn,
        "remaining": context.get_remaining_time_in_millis(),
    }


VERSION = "one"
