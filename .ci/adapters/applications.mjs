// One small application in each framework of Node, and each adapter's handler in front of it.
//
// Serves the frameworks directly, and on one more port the handlers: POST /NAME with an event gives the answer. The first
// line on standard output has all ports as JSON.

import { createServer } from 'node:http'

import serverlessExpress from '@codegenie/serverless-express'
import awsLambdaFastify from '@fastify/aws-lambda'
import { getRequestListener } from '@hono/node-server'
import middy from '@middy/core'
import httpHeaderNormalizer from '@middy/http-header-normalizer'
import jsonBodyParser from '@middy/http-json-body-parser'
import urlencodeBodyParser from '@middy/http-urlencode-body-parser'
import express from 'express'
import Fastify from 'fastify'
import { Hono } from 'hono'
import { handle } from 'hono/aws-lambda'
import serverlessHttp from 'serverless-http'

const BINARY = Buffer.from(Array.from({ length: 256 }, (_, number) => number))
const TEXT = 'größe ☃'
const COOKIES = ['one=1; HttpOnly; Path=/', 'two=2; Expires=Wed, 21 Oct 2037 07:28:00 GMT; Path=/']

const base64 = (bytes) => Buffer.from(bytes ?? '').toString('base64')

// headers that the requests of cases.py set; several of a name joined as RFC 9110 (5.3) allows
function wanted(headers) {
  const own = Object.entries(headers).filter(([name]) => /^(x-test|content-type|accept)/i.test(name))
  return Object.fromEntries(
    own.map(([name, value]) => [name.toLowerCase(), String(value).split(',').map((part) => part.trim())]),
  )
}

function grouped(query) {
  return Object.fromEntries(Object.entries(query ?? {}).map(([name, value]) => [name, [value].flat()]))
}

const app = express()
app.disable('x-powered-by')
app.disable('etag')
app.use(express.raw({ type: () => true, limit: '10mb' }))
app.all('/echo/{*rest}', (request, response) => {
  response.json({
    method: request.method,
    path: request.path,
    url: request.originalUrl,
    query: grouped(request.query),
    names: Object.keys(request.query),
    parameter: request.params.rest,
    headers: wanted(request.headers),
    cookie: request.headers.cookie,
    host: request.headers.host,
    body: base64(Buffer.isBuffer(request.body) ? request.body : ''),
  })
})
app.get('/cookies', (_, response) => response.set('Set-Cookie', COOKIES).type('text/plain').send('two cookies'))
app.get('/status/:code', (request, response) =>
  response.status(Number(request.params.code)).type('text/plain').send('a status'),
)
app.all('/empty', (_, response) => response.status(204).end())
app.get('/redirect', (_, response) => response.redirect(302, '/echo/there?a=b%2Fc'))
app.get('/binary', (_, response) => response.type('application/octet-stream').send(BINARY))
app.get('/unicode', (_, response) => response.type('text/plain').send(TEXT))
app.get('/nothing', (_, response) => response.type('text/plain').send(''))

const fastify = Fastify()
fastify.removeAllContentTypeParsers()
fastify.addContentTypeParser('*', { parseAs: 'buffer' }, (_, body, done) => done(null, body))
fastify.all('/echo/*', async (request) => ({
  method: request.method,
  url: request.raw.url,
  parameter: request.params['*'],
  query: grouped(request.query),
  names: Object.keys(request.query),
  headers: wanted(request.headers),
  cookie: request.headers.cookie,
  host: request.headers.host,
  body: base64(request.body),
}))
fastify.get('/cookies', async (_, reply) => reply.header('set-cookie', COOKIES).type('text/plain').send('two cookies'))
fastify.get('/status/:code', async (request, reply) =>
  reply.code(Number(request.params.code)).type('text/plain').send('a status'),
)
fastify.all('/empty', async (_, reply) => reply.code(204).send())
fastify.get('/redirect', async (_, reply) => reply.redirect('/echo/there?a=b%2Fc', 302))
fastify.get('/binary', async (_, reply) => reply.type('application/octet-stream').send(BINARY))
fastify.get('/unicode', async (_, reply) => reply.type('text/plain; charset=utf-8').send(TEXT))
fastify.get('/nothing', async (_, reply) => reply.type('text/plain').send(''))

const hono = new Hono()
hono.all('/echo/*', async (context) => {
  const { request } = context.req.raw ? { request: context.req.raw } : {}
  const url = new URL(request.url)
  return context.json({
    method: context.req.method,
    path: context.req.path,
    search: url.search,
    query: context.req.queries(),
    names: Object.keys(context.req.queries()),
    headers: wanted(context.req.header()),
    cookie: context.req.header('cookie'),
    host: context.req.header('host'),
    body: base64(await context.req.arrayBuffer()),
  })
})
hono.get('/cookies', (context) => {
  COOKIES.forEach((cookie) => context.header('set-cookie', cookie, { append: true }))
  return context.text('two cookies')
})
hono.get('/status/:code', (context) => context.text('a status', Number(context.req.param('code'))))
hono.all('/empty', (context) => context.body(null, 204))
hono.get('/redirect', (context) => context.redirect('/echo/there?a=b%2Fc', 302))
hono.get('/binary', (context) => context.body(BINARY, 200, { 'content-type': 'application/octet-stream' }))
hono.get('/unicode', (context) => context.text(TEXT))
hono.get('/nothing', (context) => context.text(''))

// Middy, which no server serves: its middlewares tell of the event what Express tells of the request
const middleware = middy()
  .use(httpHeaderNormalizer())
  .use(jsonBodyParser({ disableContentTypeError: true }))
  .use(urlencodeBodyParser({ disableContentTypeError: true }))
  .handler(async (event) => ({
    statusCode: 200,
    headers: { 'Content-Type': 'application/json; charset=utf-8' },
    body: JSON.stringify({
      method: event.httpMethod ?? event.requestContext.http.method,
      path: event.path ?? event.rawPath,
      headers: wanted(event.headers),
      host: event.headers.host,
      parsed: event.body ?? null,
    }),
  }))

const fastifyHandler = awsLambdaFastify(fastify, { binaryMimeTypes: ['application/octet-stream'] })
const HANDLERS = {
  'serverless-express': serverlessExpress({ app, binarySettings: { contentTypes: ['application/octet-stream'] } }),
  'serverless-http': serverlessHttp(app, { binary: (headers) => !/^(text|application\/json)/.test(headers['content-type'] ?? '') }),
  fastify: fastifyHandler,
  hono: handle(hono),
  middy: middleware,
}

const listen = (listener) =>
  new Promise((resolve) => {
    const server = createServer(listener).listen(0, '127.0.0.1', () => resolve(server.address().port))
  })

async function invoke(request, response) {
  const pieces = []
  for await (const piece of request) pieces.push(piece)
  try {
    const event = JSON.parse(Buffer.concat(pieces).toString())
    const context = { awsRequestId: 'id', callbackWaitsForEmptyEventLoop: false, getRemainingTimeInMillis: () => 30000 }
    const answer = await HANDLERS[request.url.slice(1)](event, context)
    response.end(JSON.stringify(answer ?? null))
  } catch (error) {
    response.statusCode = 500
    response.end(JSON.stringify({ errorType: error.name, errorMessage: error.message, stackTrace: [error.stack] }))
  }
}

await fastify.ready()
const ports = {
  express: await listen(app),
  fastify: await listen((request, response) => fastify.routing(request, response)),
  hono: await listen(getRequestListener(hono.fetch)),
  handlers: await listen(invoke),
}
process.stdout.write(`${JSON.stringify(ports)}\n`)
process.stdin.resume()
process.stdin.on('end', () => process.exit(0))
