"""The service as the ML backend of a real Label Studio, which asks it for predictions and stores them."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from model.masks import rle
from service.execution import open_bundles
from service.settings import Settings
from tests.docker.tools import succeeds
from tests.paths import ROOT
from tests.service.output.tools.test_label_studio import decoded
from tests.service.support import running, wait_for
from tests.tools.conftest import EMAIL, LEGACY, PASSWORD, RunningStudio, json_of

BUNDLE = ROOT / "bundles" / "people"
PICTURE = ROOT / "examples" / "astronaut.jpg"
SHOWN = ROOT / "docs" / "images" / "label_studio.png"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
KEY = "key-of-the-service"
CONFIG = """
<View>
  <Image name="photo" value="$image"/>
  <{kind} name="mask" toName="photo" smart="false"><Label value="Person"/><Label value="Rocket"/></{kind}>
  <RectangleLabels name="box" toName="photo" smart="true">
    <Label value="Person"/><Label value="Rocket"/>
  </RectangleLabels>
</View>
"""


@dataclass(frozen=True)
class Project:
    """A project with one picture, to which the service is connected."""

    client: httpx.Client
    id: int
    task: int
    backend: int


@pytest.fixture(scope="module", params=["legacy", "personal"])
def service(request: pytest.FixtureRequest, label_studio: RunningStudio) -> Iterator[str]:
    """The address of a service with a key and with a token of either kind."""
    if not (BUNDLE / "bundle.json").exists():
        pytest.skip("bundles/people is missing: make setup")
    token = LEGACY if request.param == "legacy" else label_studio.personal
    changes: dict[str, Any] = {"label_studio_url": label_studio.url, "label_studio_token": token}
    (bundle,) = open_bundles(Settings(device="cpu", precision="fp32"), (BUNDLE,))
    with running(bundle, api_keys=KEY, **changes) as url:
        wait_for(lambda: succeeds(f"{url}/readyz"))
        yield url


@pytest.fixture
def client(label_studio: RunningStudio) -> Iterator[httpx.Client]:
    with label_studio.client() as found:
        yield found


def connect(client: httpx.Client, service: str, kind: str = "BrushLabels") -> Project:
    """Make a project, upload the picture, and connect the service."""
    config = CONFIG.format(kind=kind)
    project = json_of(client.post("/api/projects/", json={"title": "Pictures", "label_config": config}))["id"]
    files = {"file": (PICTURE.name, PICTURE.read_bytes(), "image/jpeg")}
    json_of(client.post(f"/api/projects/{project}/import", files=files))
    (task,) = json_of(client.get("/api/tasks/", params={"project": project}))["tasks"]
    assert task["data"]["image"].startswith("/data/upload/")
    backend = {
        "url": f"{service}/label-studio",
        "project": project,
        "title": "pointrend",
        "is_interactive": True,
    }
    wrong = {"auth_method": "BASIC_AUTH", "basic_auth_user": "any", "basic_auth_pass": "wrong"}
    refused = client.post("/api/ml/", json=backend | wrong)
    assert refused.status_code == 400 and "authentication parameters" in refused.text
    made = json_of(client.post("/api/ml/", json=backend | wrong | {"basic_auth_pass": KEY}))
    (state,) = json_of(client.get("/api/ml/", params={"project": project}))
    assert (state["readable_state"], state["model_version"]) == ("Connected", "people")
    return Project(client, project, task["id"], made["id"])


def predicted(project: Project) -> Any:
    """Let Label Studio ask for predictions, and return the one that it stored."""
    action = {"id": "retrieve_tasks_predictions", "project": project.id}
    selected = {"selectedItems": {"all": True, "excluded": []}}
    json_of(project.client.post("/api/dm/actions/", params=action, json=selected))
    (prediction,) = json_of(project.client.get("/api/predictions/", params={"task": project.task}))
    return prediction


def segmented(service: str, query: str = "") -> list[Any]:
    """Return the masks that /segment gives, and their scores."""
    headers = {"content-type": "image/jpeg", "x-api-key": KEY}
    answer = json_of(
        httpx.post(
            f"{service}/segment?{query}",
            content=PICTURE.read_bytes(),
            headers=headers,
            timeout=120,
            trust_env=False,
        )
    )
    size = answer["width"], answer["height"]
    return [
        (rle.decode(rle.decompress(each["segmentation"]["counts"]), *size), each["score"])
        for each in answer["instances"]
    ]


def bitmap(region: Any) -> Any:
    pixels = decoded(region["value"]["rle"])
    return np.reshape(pixels, (region["original_height"], region["original_width"], 4))[:, :, 3] == 255


def test_the_prediction_that_is_stored_is_the_mask(client: httpx.Client, service: str) -> None:
    project = connect(client, service)
    prediction = predicted(project)
    assert prediction["model_version"] == "people"
    wanted = segmented(service)
    assert wanted
    for region, (mask, score) in zip(prediction["result"], wanted, strict=True):
        assert (region["from_name"], region["to_name"]) == ("mask", "photo")
        assert region["value"]["brushlabels"] == ["Person"]
        assert region["score"] == pytest.approx(score)
        np.testing.assert_array_equal(bitmap(region), mask)
    # What a person would do next is allowed, too: the prediction becomes an annotation.
    annotation = {"result": prediction["result"], "parent_prediction": prediction["id"]}
    stored = json_of(client.post(f"/api/tasks/{project.task}/annotations/", json=annotation))
    assert stored["result"] == prediction["result"]
    versions = json_of(client.get(f"/api/ml/{project.backend}/versions"))
    assert versions == {"versions": ["people"]}


def test_a_rectangle_that_is_drawn_becomes_its_mask(client: httpx.Client, service: str) -> None:
    project = connect(client, service)
    value = {"x": 5, "y": 5, "width": 70, "height": 90, "rotation": 0, "rectanglelabels": ["Rocket"]}
    drawn = {"type": "rectanglelabels", "original_width": 512, "original_height": 512, "value": value}
    asked = {"task": project.task, "context": {"result": [drawn]}}
    answer = json_of(client.post(f"/api/ml/{project.backend}/interactive-annotating", json=asked))
    (region,) = answer["data"]["result"]
    assert region["value"]["brushlabels"] == ["Rocket"]
    ((mask, _),) = segmented(service, "boxes=[[25.6, 25.6, 384, 486.4]]")
    np.testing.assert_array_equal(bitmap(region), mask)


def test_polygons_are_stored(client: httpx.Client, service: str) -> None:
    regions = predicted(connect(client, service, "PolygonLabels"))["result"]
    assert regions and all(each["type"] == "polygonlabels" for each in regions)
    assert all(0 <= value <= 100 for each in regions for point in each["value"]["points"] for value in point)


@pytest.fixture
def page() -> Iterator[Any]:
    """A page of the system's Chromium."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip("no Chromium: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        context = browser.new_context(viewport={"width": 1280, "height": 800})
        context.set_default_timeout(120_000)
        yield context.new_page()
        browser.close()


def open_editor(page: Any, project: Project) -> None:
    """Log in, open the only task, and wait for the score of the prediction beside its region."""
    page.goto(f"{project.client.base_url}/user/login/")
    page.fill("input[name=email]", EMAIL)
    page.fill("input[name=password]", PASSWORD)
    page.click("button[type=submit]")
    page.wait_for_url(lambda url: "login" not in url)
    page.goto(f"{project.client.base_url}/projects/{project.id}/data?task={project.task}")
    page.get_by_text("0.93").wait_for()
    page.wait_for_load_state("networkidle")


def test_the_editor_shows_the_prediction(client: httpx.Client, service: str, page: Any) -> None:
    """It writes the picture of docs/tools.md if that is missing."""
    project = connect(client, service)
    assert len(predicted(project)["result"]) == 1
    open_editor(page, project)
    picture = page.screenshot()
    with Image.open(io.BytesIO(picture)) as shown:
        colours = np.array(shown.convert("RGB"), np.int16)
    # The suit is orange, and greenish only where the mask is drawn on it.
    green = (colours[:, :, 1] > colours[:, :, 2] + 25) & (colours[:, :, 1] > colours[:, :, 0] - 40)
    assert green.mean() > 0.05
    if not SHOWN.exists():
        with Image.open(io.BytesIO(picture)) as shown:
            shown.convert("RGB").quantize(256).save(SHOWN, optimize=True)


def test_a_rectangle_that_is_drawn_in_the_editor_becomes_a_region(
    client: httpx.Client, service: str, page: Any
) -> None:
    project = connect(client, service)
    (first,) = predicted(project)["result"]
    page.set_viewport_size({"width": 1280, "height": 1000})  # the labels of rectangles are below the picture
    open_editor(page, project)
    page.get_by_text("Auto-Annotation").click()
    page.get_by_text("Auto-Accept Suggestions").click()
    page.get_by_text("Person", exact=True).nth(1).click()
    page.locator(".lsf-tool_smart").first.click()
    canvas = page.locator("canvas").first.bounding_box()
    with page.expect_response(lambda answer: "interactive-annotating" in answer.url) as answer:
        page.mouse.move(canvas["x"] + 60, canvas["y"] + 60)
        page.mouse.down()
        page.mouse.move(canvas["x"] + 300, canvas["y"] + 300, steps=10)
        page.mouse.move(canvas["x"] + 430, canvas["y"] + 590, steps=10)
        page.mouse.up()
    (suggested,) = answer.value.json()["data"]["result"]
    page.get_by_text("Submit").click()
    address = f"/api/tasks/{project.task}/annotations/"
    wait_for(lambda: json_of(client.get(address)), pause=0.2)
    (annotation,) = json_of(client.get(address))
    brushes = [region for region in annotation["result"] if region["type"] == "brushlabels"]
    assert len(brushes) == len(annotation["result"]) == 2
    for region, wanted in zip(brushes, (first, suggested), strict=True):
        assert region["value"]["brushlabels"] == ["Person"]
        np.testing.assert_array_equal(bitmap(region), bitmap(wanted))
