"""The whole local cloud: starts its parts in order, stops them in reverse order."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from local_cloud import environment, permissions, provision, server
from local_cloud import meter as metering
from local_cloud.aws import patch
from local_cloud.aws.s3 import INCOMING, S3
from local_cloud.aws.s3_events import stored_message
from local_cloud.aws.ses import Ses
from local_cloud.aws.sqs import Sqs
from local_cloud.aws.ssm import Ssm
from local_cloud.config import Config
from local_cloud.data_folder import DataFolder
from local_cloud.database.dynoxide import Dynoxide
from local_cloud.database.time_to_live import Sweeper
from local_cloud.gateway.answers import Answers
from local_cloud.gateway.edge_waits import EdgeParking
from local_cloud.gateway.http import HttpGateway, WithoutFunctions
from local_cloud.gateway.incoming import Incoming, Rules
from local_cloud.gateway.parking import Parking
from local_cloud.gateway.routes import Routes
from local_cloud.gateway.uploads import Uploads
from local_cloud.gateway.websocket import Sockets, WebSocketGateway
from local_cloud.lambdas import Function, Lambdas
from local_cloud.meter import Meter
from local_cloud.names import PREFIX
from local_cloud.pollers.checkpoints import Checkpoints
from local_cloud.pollers.invocations import Invocations
from local_cloud.pollers.schedules import ScheduleMapping
from local_cloud.pollers.stream_source import Changes, StreamReader, trim, watch
from local_cloud.pollers.streams import Reader, StreamMapping, StreamSettings, failure_message
from local_cloud.store import Store

log = logging.getLogger("local_cloud")

Say = Callable[[str], None]


class Cloud:
    """One local cloud in this process. There can be only one at a time, because botocore and the environment
    are shared.

    `functions` replaces discovery in tests; `tables` replaces the product's tables.
    """

    def __init__(
        self,
        config: Config,
        *,
        functions: Iterable[Function] | None = None,
        tables: Iterable[Any] | None = None,
        say: Say = log.info,
    ) -> None:
        self.config = config
        self._given_functions = functions
        self._given_tables = tables
        self._say = say
        self._cleanup = ExitStack()
        self.folder = DataFolder(config.data)
        self.lambdas = Lambdas(config.limits.concurrency)
        self.invocations = Invocations(self.lambdas, timeout=config.limits.worker_timeout, chaos=config.chaos)
        self.sqs = Sqs()
        self.sockets = Sockets(config.limits)
        self.changes = Changes()
        self.meter: Meter | None = None
        self._streamed: set[str] = set()

    def start(self) -> None:
        """Start everything. If that fails, everything is stopped again. Raises what the parts raise."""
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop everything, including requests in progress, within some seconds."""
        self._cleanup.close()

    def _start(self) -> None:
        config, later = self.config, self._cleanup.callback
        listener = server.bind(config.host, config.port)
        later(listener.close)
        federation_listener = None
        if config.federation_port:
            federation_listener = server.bind(config.host, config.federation_port)
            later(federation_listener.close)
        self.folder.open()
        later(self.folder.close)
        store = Store(self.folder.store)
        later(store.close)
        if config.dynamodb != "moto":  # moto's data end with the process
            self.sqs = Sqs(store, repeats=config.chaos != "none")
        dynamodb_url = self._start_dynamodb()
        variables = environment.environment(config, dynamodb_url)
        self.folder.environment.write_text(json.dumps(variables, indent=1))
        before = environment.enter(variables)
        later(environment.leave, before)
        self.s3 = S3(store, self.folder.objects, self._queue_stored)
        self.ssm = Ssm(store)
        services = self._services()
        self.meter = meter = self._meter()  # first, because a service that answers a call doesn't pass it on
        permissions.install()
        patch.install(services)
        later(patch.uninstall, services)
        federates = variables["MURMURATION_FEDERATION"] == "on"
        functions = self._functions(federates)
        viewer_secret = self._provision(functions)
        later(self.lambdas.close)
        self._start_mappings(functions, store)
        later(self.sqs.close)
        gateway = self._gateway(functions, viewer_secret)
        servers = [server.Server(listener, *gateway, config.limits)]
        if federation_listener is not None and config.tls_cert and config.tls_key:
            tls = (config.tls_cert, config.tls_key)
            servers.append(server.Server(federation_listener, *gateway, config.limits, tls))
        for each in servers:
            if meter is not None:
                each.on_request = lambda preflight: meter.request(preflight=preflight)
            each.start()
            later(each.stop)
        later(self.sqs.close)

    def _start_dynamodb(self) -> str | None:
        if self.config.dynamodb == "moto":
            self._say("DynamoDB: moto, in memory. What is stored ends with the server")
            return None
        if self.config.dynamodb != "dynoxide":
            self.folder.database_url.write_text(self.config.dynamodb)
            self._say(f"DynamoDB at {self.config.dynamodb}")
            return self.config.dynamodb
        dynoxide = Dynoxide(self.folder)
        self._cleanup.callback(dynoxide.stop)
        dynoxide.start()
        self._say(f"DynamoDB: dynoxide at {dynoxide.url}, data in {self.folder.database}")
        return dynoxide.url

    def _meter(self) -> Meter | None:
        """Return the meter, which counts usage from now on, if the configuration asks for it."""
        if not self.config.meter:
            return None
        meter = Meter(self.config.api)
        metering.install(meter)
        self.lambdas.on_invocation = meter.invocation
        self._cleanup.callback(metering.uninstall, meter)
        self._cleanup.callback(meter.save, self.folder.usage)
        return meter

    def _services(self) -> patch.Services:
        ses = Ses(self.folder.mail)
        operations: Mapping[str, Mapping[str, patch.Operation]] = {
            "sqs": self.sqs.operations(),
            "s3": self.s3.operations(),
            "ssm": self.ssm.operations(),
            "lambda": self.invocations.operations(),
            "ses": ses.operations(),
            "sesv2": ses.operations_v2(),
            "apigatewaymanagementapi": self.sockets.operations(),
        }
        return patch.Services(operations, self._notice_write, moto_dynamodb=self.config.dynamodb == "moto")

    def _notice_write(self, tables: Collection[str] | None) -> None:
        """Wake the readers of streams, unless none of the tables has a stream."""
        if tables is None or not self._streamed.isdisjoint(tables):
            self.changes.notify()

    def _functions(self, federates: bool) -> list[Function]:
        if self._given_functions is not None:
            return list(self._given_functions)
        from murmuration.endpoint import discover, is_wanted

        found: list[Function] = [
            each for each in discover(self.config.functions) if is_wanted(each.route, federation=federates)
        ]
        self._say(f"{len(found)} functions")
        return found

    def _provision(self, functions: list[Function]) -> str:
        from murmuration.aws import dynamodb

        self.dynamodb = dynamodb.client()
        if self._given_tables is None:
            from murmuration.storage.tables import TABLES

            provision.create_tables(self.dynamodb, TABLES)
        else:
            provision.create_tables(self.dynamodb, self._given_tables)
        provision.create_bucket(self.s3)
        provision.create_queues(self.sqs, functions)
        self._queue_what_is_left()
        provision.set_parameters(self.ssm, self.config.parameters)
        return provision.create_secrets(self.ssm)

    def _start_mappings(self, functions: list[Function], store: Store) -> None:
        from murmuration.endpoint import Queue, Schedule, Stream

        self.mappings: list[StreamMapping | ScheduleMapping] = []
        streams = []
        if self.config.dynamodb == "moto":
            store = Store(Path(":memory:"))  # positions in streams, which end with the process
        for function in functions:
            if isinstance(function.route, Stream):
                streams.append(self._stream_mapping(function, Checkpoints(store)))
            elif isinstance(function.route, Queue):
                self._add_worker(function)
            elif isinstance(function.route, Schedule):
                self.mappings.append(self._schedule_mapping(function))
        self.mappings += streams
        for mapping in self.mappings:
            mapping.start()
        self._cleanup.callback(self._stop_mappings)
        self._ring_for_what_is_left(functions)
        if self.config.dynamodb == "dynoxide":
            self._start_database_upkeep(streams)

    def _start_database_upkeep(self, streams: list[StreamMapping]) -> None:
        stop = threading.Event()
        self._cleanup.callback(stop.set)
        sweeper = Sweeper(self.folder.database, self.dynamodb)
        sweeper.start()
        self._cleanup.callback(sweeper.stop)
        threading.Thread(
            target=watch, args=(self.folder.database, self.changes, stop), name="stream-watch", daemon=True
        ).start()
        if streams:
            trim(self.folder.database, min(stream.position for stream in streams))

    def _stop_mappings(self) -> None:
        for mapping in self.mappings:
            mapping.stop()
        self.invocations.close()
        self.changes.close()
        self.sqs.close()
        for mapping in self.mappings:
            mapping.join(1)

    def _stream_mapping(self, function: Function, checkpoints: Checkpoints) -> StreamMapping:
        route = function.route
        table = f"{PREFIX}-{route.table}"
        self._streamed.add(table)
        settings = StreamSettings(
            batch_size=route.batch_size,
            batch_window=getattr(route, "batch_window", 0),
            maximum_retry_attempts=getattr(route, "maximum_retry_attempts", -1),
        )
        on_failure = None
        if queue := getattr(route, "on_failure", None):
            name = provision.physical_queue(queue, fifo=False)
            provision.create_queue(self.sqs, name, {})
            on_failure = partial(self._queue_failure, name)
        return StreamMapping(
            function,
            settings,
            partial(self._open_reader, table),
            self.changes,
            checkpoints,
            self.lambdas,
            timeout=self.config.limits.worker_timeout,
            chaos=self.config.chaos,
            on_failure=on_failure,
        )

    def _open_reader(self, table: str) -> Reader:
        if self.config.dynamodb == "dynoxide":
            return StreamReader(self.folder.database, table)
        from local_cloud.database.api_streams import ApiStreamReader

        return ApiStreamReader(table)

    def _queue_failure(self, queue: str, failure: dict[str, Any]) -> None:
        self.sqs.queue(queue).send(failure_message(failure))

    def _add_worker(self, function: Function) -> None:
        """Register a queue's function under the name by which it is invoked."""
        from murmuration.settings import settings

        self.invocations.add(settings().worker(function.route.name), function)

    def _ring_for_what_is_left(self, functions: list[Function]) -> None:
        """Invoke the workers of queues with messages from before the start, as AWS's sweep would have
        done.
        """
        from murmuration.endpoint import Queue
        from murmuration.settings import settings

        for function in functions:
            route = function.route
            if isinstance(route, Queue):
                queue = self.sqs.queue(provision.physical_queue(route.name, route.fifo))
                if queue.counts()[0]:
                    name = settings().worker(route.name)
                    self.invocations.invoke({"FunctionName": name, "InvocationType": "Event"})

    def _schedule_mapping(self, function: Function) -> ScheduleMapping:
        return ScheduleMapping(
            function, function.route.expression, self.lambdas, timeout=self.config.limits.worker_timeout
        )

    def _incoming(self, viewer_secret: str) -> Incoming:
        """Return the gateway's part for large uploads to the bucket."""
        from murmuration.media.incoming.signed_ids import upload_key
        from murmuration.settings import settings

        rules = Rules(self.config.name, upload_key(viewer_secret), settings().media_put_max_bytes)
        return Incoming(self.s3, environment.MEDIA_BUCKET, self.folder.path, rules)

    def _queue_stored(self, key: str, size: int, etag: str) -> None:
        """Queue the message with which the bucket reports a stored upload."""
        from murmuration.media.incoming.settling import QUEUE

        name = provision.physical_queue(QUEUE, fifo=False)
        self.sqs.queue(name).send(stored_message(environment.MEDIA_BUCKET, key, size, etag))

    def _queue_what_is_left(self) -> None:
        """Queue the messages for uploads from before the start, because they were lost with their queue."""
        listed = self.s3.list_objects_v2({"Bucket": environment.MEDIA_BUCKET, "Prefix": INCOMING})
        for found in listed.get("Contents", ()):
            if found["Size"]:
                self._queue_stored(found["Key"], found["Size"], found["ETag"].strip('"'))

    def _parking(self) -> Parking:
        """Return the gateway's part that sends clients to their wake queues. Waiting there needs no
        function.
        """
        threads = Lambdas(self.config.limits.connections)
        self._cleanup.callback(threads.close)
        at_edge = self.config.waits == "edge"
        parking = (
            EdgeParking(self.sqs, threads, self._queue_secret) if at_edge else Parking(self.sqs, threads)
        )
        if self.meter is not None:
            parking.on_wait = self.meter.wait_at_edge if at_edge else self.meter.wait
        return parking

    def _queue_secret(self) -> str:
        """Return the secret that CloudFront adds to requests for queues."""
        found = self.ssm.get_parameters({"Names": [environment.QUEUE_SECRET_PARAMETER]})
        return str(found["Parameters"][0]["Value"])

    def _gateway(self, functions: list[Function], viewer_secret: str) -> tuple[HttpGateway, WebSocketGateway]:
        from murmuration.endpoint import WebSocket, http_routes

        limits = self.config.limits
        routes = Routes(http_routes(functions))
        socket_routes = {
            function.route.key: function for function in functions if isinstance(function.route, WebSocket)
        }
        return (
            HttpGateway(
                routes,
                self.lambdas,
                limits,
                viewer_secret,
                WithoutFunctions(
                    self._parking(),
                    Answers(self.s3, environment.MEDIA_BUCKET),
                    Uploads(self.s3, environment.MEDIA_BUCKET),
                    self._incoming(viewer_secret),
                ),
                api=self.config.api,
            ),
            WebSocketGateway(socket_routes, self.lambdas, self.sockets, limits, viewer_secret),
        )
