// Runs the viewer function's code, the file that the argument names, on the requests in stdin, as CloudFront
// would: a line of JSON each, an answer each. A request that another origin was chosen for has that as `origin`, one
// with a `response` is an answer on its way back.
const fs = require('fs');
const readline = require('readline');
const vm = require('vm');

let origin = null;
let now = null;
class Clock extends Date {
    static now() { return now === null ? Date.now() : now; }
}
const cf = {
    selectRequestOriginById: (id) => { origin = id; },
    createRequestOriginGroup: (group) => { origin = group; },
};
const code = fs.readFileSync(process.argv[2], 'utf8');
const imports = code.startsWith("import cf from 'cloudfront';\n");
const context = vm.createContext(Object.assign({ require, Buffer, Date: Clock }, imports ? { cf } : {}));
vm.runInContext(code.replace(/^import .*\n/, '') + '\nthis.handler = handler;', context);

function parsed(query) {
    const found = {};
    query.split('&').filter(Boolean).forEach((pair) => {
        const mark = pair.indexOf('=');
        found[mark < 0 ? pair : pair.slice(0, mark)] = { value: mark < 0 ? '' : pair.slice(mark + 1) };
    });
    return found;
}

readline.createInterface({ input: process.stdin }).on('line', (line) => {
    const { method, uri, headers, response, at } = JSON.parse(line);
    const mark = uri.indexOf('?');
    const request = {
        method,
        uri: mark < 0 ? uri : uri.slice(0, mark),
        querystring: mark < 0 ? {} : parsed(uri.slice(mark + 1)),
        headers,
        rawQueryString: () => (mark < 0 ? undefined : uri.slice(mark + 1)),
    };
    origin = null;
    now = at || null;
    const answer = context.handler({ request, response });
    console.log(JSON.stringify(origin === null ? answer : Object.assign({ origin }, answer)));
});
