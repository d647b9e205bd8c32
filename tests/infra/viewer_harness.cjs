// Runs the viewer function on the events in stdin, as CloudFront would: a line of JSON each, an answer each.
const fs = require('fs');
const vm = require('vm');

const context = vm.createContext({ require });
vm.runInContext(fs.readFileSync(process.argv[2], 'utf8') + '\nthis.handler = handler;', context);
for (const line of fs.readFileSync(0, 'utf8').split('\n').filter(Boolean)) {
    const { method, uri, headers } = JSON.parse(line);
    const mark = uri.indexOf('?');
    const request = {
        method,
        uri: mark < 0 ? uri : uri.slice(0, mark),
        querystring: {},
        headers,
        rawQueryString: () => (mark < 0 ? undefined : uri.slice(mark + 1)),
    };
    console.log(JSON.stringify(context.handler({ request })));
}
