"""Every kind of problem: what it means, and what to do about it. /problems/KIND and the OpenAPI document tell it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class ProblemKind:
    """What is the same for all problems of a kind. Each of them has a detail of its own."""

    status: int
    title: str
    meaning: str  # beyond the title
    remedy: str


_LATER = "Send the request again after as many seconds as Retry-After says."
_OPERATOR = "Nothing is wrong with the request. Send it again later or to another replica."

# The kind is the end of the type, which stays the same for ever.
KINDS: Mapping[str, ProblemKind] = MappingProxyType(
    {
        "bad-request": ProblemKind(
            400,
            "The request cannot be read",
            "It breaks a rule of HTTP or a bound on its head, or its form has a field that does not exist.",
            "The detail names what is wrong. Use an HTTP library, and the fields that the detail lists.",
        ),
        "empty-body": ProblemKind(
            400,
            "The body is empty",
            "There are no bytes where the image should be.",
            "Send the image as the body, or as a file in the field `image` of a form.",
        ),
        "not-an-image": ProblemKind(
            400,
            "The body is not an image",
            "No known image format begins like these bytes.",
            "Send the bytes of an image file themselves, not its address. In base64 it must be in JSON.",
        ),
        "corrupt-image": ProblemKind(
            400,
            "The image is truncated or damaged",
            "The format is known, but the file ends early or contradicts itself.",
            "Send the complete file. If a viewer shows it, save it again and send that.",
        ),
        "slow-image": ProblemKind(
            400,
            "The image takes too long to decode",
            "Decoding took longer than a picture of this kind and size should, so it was ended.",
            "Save the image again in a simpler way, such as baseline JPEG, or smaller.",
        ),
        "malformed-multipart": ProblemKind(
            400,
            "The multipart body is malformed",
            "The form's boundary, a part's headers or the number or size of its fields are not what they may be.",
            "Let an HTTP library write the form: `-F image=@FILE` of curl, `files=` of Python's clients.",
        ),
        "malformed-json": ProblemKind(
            400,
            "The JSON body is malformed",
            "The body is not a JSON object, has too much beside its image, or the image is not base64.",
            'Send `{"image": "…", "resolution": 224}`, the image as the bytes of its file in standard base64.',
        ),
        "missing-image": ProblemKind(
            400,
            "The form or the JSON object has no image",
            "There is no field or member for the image, or what it holds is no file and no base64.",
            "Send the file in the field `image`: `-F image=@FILE` of curl, with the `@`. In JSON, as base64.",
        ),
        "unauthorized": ProblemKind(
            401,
            "A valid API key is needed",
            "The service has keys, and the request has none of them.",
            "Send `Authorization: Bearer KEY` or `X-API-Key: KEY`. The operator of the service gives out keys.",
        ),
        "not-found": ProblemKind(
            404,
            "There is no such page",
            "Neither a page nor a model or a problem has this address.",
            "See /docs for all addresses, and /models for the names of models.",
        ),
        "not-kept": ProblemKind(
            404,
            "The picture is not kept",
            "Its time is over, it made room for others, the service started anew, it belongs to another API key, or "
            "there never was one of this id.",
            "Send the picture to /segment again with `keep`, and use the new id.",
        ),
        "method-not-allowed": ProblemKind(
            405,
            "The method is not allowed here",
            "The address is right, the method is not.",
            "Use a method that the header Allow lists: POST for /segment and the like, GET or HEAD for pages.",
        ),
        "slow-body": ProblemKind(
            408,
            "The body takes too long",
            "The body was not complete in time, or came too slowly while the memory for bodies was full.",
            "Send a smaller image or over a faster connection, and again if the connection was only busy.",
        ),
        "too-many-bytes": ProblemKind(
            413,
            "The body is too large",
            "The body has more bytes than one request may have.",
            "Compress the image more, or make it smaller. /models tells the limit as `max_body_bytes`.",
        ),
        "too-many-pixels": ProblemKind(
            413,
            "The image has too many pixels",
            "The image's header says that it has more pixels than one may have.",
            "Make the image smaller. /models tells the limit as `max_pixels`.",
        ),
        "too-much-memory": ProblemKind(
            413,
            "The image takes too much memory to decode",
            "Formats and kinds of pixels differ in what decoding takes, and this image would take too much.",
            "Save it in a simpler way, such as baseline JPEG, or smaller. /models tells the limit as `decode_bytes`.",
        ),
        "too-costly": ProblemKind(
            413,
            "The request takes too much",
            "Masks or the answer would take more time or memory than one request may have.",
            "Lower resolution, points or the number of boxes. /models tells the limits as `max_seconds`, "
            "`render_bytes` and `encode_bytes`.",
        ),
        "unsupported-content-type": ProblemKind(
            415,
            "The content type is not supported",
            "The header Content-Type names neither an image nor a form with a file nor JSON.",
            "Send image/*, application/octet-stream, multipart/form-data or application/json.",
        ),
        "unsupported-encoding": ProblemKind(
            415,
            "The content encoding is not supported",
            "The header Content-Encoding says that the body is compressed, and the service does not read that.",
            "Send the body as it is. Images are compressed already.",
        ),
        "unsupported-format": ProblemKind(
            415,
            "The image format is not supported",
            "The file is an image of a format, or a kind of a format, that is not read here.",
            "Convert it to a format that /models lists as `formats`.",
        ),
        "invalid-parameter": ProblemKind(
            422,
            "A parameter is not allowed",
            "A parameter of the query or the body does not exist, has a wrong value or does not fit the model.",
            "The member `errors` says of each wrong parameter what is allowed.",
        ),
        "foreign-address": ProblemKind(
            422,
            "The picture is on another host",
            "A task of Label Studio names a picture that is not below the address of the Label Studio of the settings, "
            "or is redirected elsewhere, such as to the storage of a cloud.",
            "Upload the picture to Label Studio, or let it pass on the files of its storage (without pre-signed URLs).",
        ),
        "bodies-full": ProblemKind(
            429,
            "The memory for request bodies is full",
            "Other requests hold all of the memory for bodies.",
            _LATER,
        ),
        "queue-full": ProblemKind(
            429,
            "The queue is full",
            "The requests that came before take as long as the service lets anybody wait.",
            f"{_LATER} A place is kept until then.",
        ),
        "internal-error": ProblemKind(
            500,
            "The service failed",
            "Something unexpected happened, which the service's log has under the request's id.",
            "Report the request's id to the operator of the service. The same request is likely to fail again.",
        ),
        "not-fetched": ProblemKind(
            502,
            "Label Studio did not hand out the picture",
            "It did not answer in time, had no such file, or did not accept the token of the service.",
            "Open the picture in Label Studio. The service's log says more; its token may have expired.",
        ),
        "replica-failed": ProblemKind(
            502,
            "A replica failed",
            "The replica that had the request ended before it answered. The proxy before the replicas answers this.",
            _LATER,
        ),
        "starting": ProblemKind(
            503,
            "The service is starting",
            "The model is being loaded and tried.",
            _LATER,
        ),
        "unhealthy": ProblemKind(
            503,
            "The service is not healthy",
            "A part of the service does not run, or its last requests all failed.",
            _OPERATOR,
        ),
        "no-decoder": ProblemKind(
            503,
            "No process could be started to decode the image",
            "The operating system did not let the service start a process that decodes images.",
            _OPERATOR,
        ),
        "out-of-memory": ProblemKind(
            503,
            "There is too little memory",
            "The machine had less memory than the service counted on.",
            _LATER,
        ),
        "connections-full": ProblemKind(
            503,
            "There are too many connections",
            "All connections that the service may have are in use.",
            f"{_LATER} Use one connection for many requests.",
        ),
        "stopped": ProblemKind(
            503,
            "The model's worker has stopped",
            "The model does not work any more until the service starts again.",
            _OPERATOR,
        ),
        "no-replica": ProblemKind(
            503,
            "No replica could answer",
            "None is ready, or the one that had the request inside ended. The proxy before the replicas answers this.",
            _LATER,
        ),
        "replica-timeout": ProblemKind(
            504,
            "A replica took too long",
            "No answer came for as long as the proxy before the replicas waits.",
            "Send the request again after as many seconds as Retry-After says, or ask for less.",
        ),
        "deadline": ProblemKind(
            504,
            "Nothing was ready by the deadline",
            "Not even the coarsest masks were ready within `deadline_ms`.",
            "Allow more time, or ask again when the service is less busy.",
        ),
    }
)
