// Runs in CloudFront at each answer to /sync, where clients wait at the edge.
//
// SQS's answer to a client that waits becomes an empty /sync. Its body can't be read here, but its length tells
// whether there is a ring, as rings are padded: without one the client goes on waiting with the token that it
// has, with one it is called. Where no length is told, it is called, too. All other answers stay as they are.
//
// A ring for changed keys is longer still. How many they are now isn't told here. So the client hears for the
// moment that it has enough of them; the function that it is called to tells it the number.

const MARKED = /^(p_([\w-]{8,32}\.p\d[\w-]{0,400}\.[0-9a-f]{32})\.[0-9a-f]{12}\.\d{10}\.([\w-]*))\.\d{13}$/;
const RING_BYTES = 600;
const KEYS_RING_BYTES = 4096;
const ENOUGH_KEYS = 50;
const KEY_ALGORITHM = 'signed_curve25519';
const COUNTS = 'device_one_time_keys_count';
const FALLBACKS = 'device_unused_fallback_key_types';
const KEPT = ['date', 'via', 'warning'];
const HEADERS = {
    'content-type': 'application/json',
    'access-control-allow-origin': '*',
    'access-control-allow-methods': 'GET, POST, PUT, DELETE, OPTIONS',
    'access-control-allow-headers': 'X-Requested-With, Content-Type, Authorization',
    'access-control-expose-headers': 'Retry-After',
};

// What the viewer function put into headers; or the same from the token, should the request be shown as it came.
function waited(request) {
    const headers = request.headers;
    if (headers['x-murmuration-keep'] && headers['x-murmuration-call']) {
        const keys = headers['x-murmuration-keys'];
        return {
            keep: headers['x-murmuration-keep'].value,
            call: headers['x-murmuration-call'].value,
            keys: keys ? keys.value : '',
        };
    }
    const since = request.querystring.since;
    const mark = since ? MARKED.exec(decodeURIComponent(since.value)) : null;
    return mark ? { keep: mark[1], call: 'c_' + mark[2], keys: mark[3] } : null;
}

function withEnough(keys) {
    const counts = keys[COUNTS] || {};
    counts[KEY_ALGORITHM] = counts[KEY_ALGORITHM] || 0;
    Object.keys(counts).forEach((name) => {
        counts[name] = Math.max(counts[name], ENOUGH_KEYS);
    });
    const fallbacks = keys[FALLBACKS] || [];
    if (fallbacks.indexOf(KEY_ALGORITHM) === -1) {
        fallbacks.push(KEY_ALGORITHM);
    }
    keys[COUNTS] = counts;
    keys[FALLBACKS] = fallbacks;
}

function handler(event) {
    const response = event.response;
    const type = response.headers['content-type'];
    const found = waited(event.request);
    if (!found || response.statusCode !== 200 || (type && type.value.startsWith('application/json'))) {
        return response;
    }
    const length = response.headers['content-length'];
    const bytes = length && /^\d+$/.test(length.value) ? Number(length.value) : KEYS_RING_BYTES;
    const keys = JSON.parse('{' + Buffer.from(found.keys, 'base64url').toString() + '}');
    if (bytes >= KEYS_RING_BYTES) {
        withEnough(keys);
    }
    const next = bytes < RING_BYTES ? found.keep + '.' + Date.now() : found.call;
    const text = JSON.stringify(Object.assign({ next_batch: next }, keys));
    Object.keys(response.headers).forEach((name) => {
        if (KEPT.indexOf(name) === -1) {
            delete response.headers[name];
        }
    });
    Object.keys(HEADERS).forEach((name) => {
        response.headers[name] = { value: HEADERS[name] };
    });
    response.headers['content-length'] = { value: String(Buffer.from(text).length) };
    response.cookies = {};
    response.body = { encoding: 'text', data: text };
    return response;
}
