-- wrk: a body of BYTES bytes
wrk.method = "POST"
wrk.body = string.rep("x", tonumber(os.getenv("BYTES")))
wrk.headers["Content-Type"] = "application/octet-stream"
