"""The page: what its server gives away and takes, and all it is for, in a real browser."""

import shutil
import socket
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
import soundfile
import torch
from spotters import random_spotter
from voices import RATE, utter

from vofp_plugin.cli.main import main
from vofp_plugin.inference.profile_store import ProfileStore
from vofp_plugin.inference.studio import LARGEST, Studio

pytest.importorskip("gradio", reason="needs the extra 'page'")

from vofp_plugin.cli.page import HOST, serve  # noqa: E402

PATIENCE = 60  # s, of a busy machine


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    return Studio(random_spotter(), ProfileStore(tmp_path_factory.mktemp("store") / "speakers.db"))


@pytest.fixture(scope="module")
def address(studio, tmp_path_factory):
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    page = serve(studio, port, tmp_path_factory.mktemp("recordings"))
    yield f"http://{HOST}:{port}"
    page.close()


def status_of(url, data=None, **headers):
    try:
        return urlopen(Request(url, data, headers), timeout=PATIENCE).status
    except HTTPError as error:
        return error.code


def test_no_file_but_its_own_is_served(address, tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    assert status_of(address) == 200
    for path in (secret, "/etc/passwd", "setup.cfg", "../setup.cfg"):
        assert status_of(f"{address}/gradio_api/file={path}") in (403, 404)


def test_other_sites_and_names_are_refused(address):
    assert status_of(address, Host="example.org") == 403
    assert status_of(address, Origin="https://example.org") == 403


def test_large_uploads_are_refused(address):
    head = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.wav"\r\n\r\n'
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    for size, status in ((1000, 200), (LARGEST + 1000, 413)):
        body = head + bytes(size) + b"\r\n--x--\r\n"
        assert status_of(f"{address}/gradio_api/upload", body, **kind) == status


def test_a_second_page_on_the_port_is_one_clear_error(address, capsys):
    port = address.rpartition(":")[2]
    assert main(["page", "model", "--port", port]) == 1
    assert f"port {port} (" in (told := capsys.readouterr().err) and "--port" in told
    assert told.count("\n") == 1


@pytest.fixture(scope="module")
def browser():
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs the extra 'page'")
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and driver):
        pytest.skip("needs a browser: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for option in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "disable-gpu"):
        options.add_argument(f"--{option}")
    browser = webdriver.Chrome(options, webdriver.ChromeService(driver))
    yield browser
    browser.quit()


class Visitor:
    """Does on the page what a person does."""

    def __init__(self, browser):
        self.browser = browser

    def until(self, condition, what):
        from selenium.webdriver.support.ui import WebDriverWait

        return WebDriverWait(self.browser, PATIENCE).until(lambda _: condition(), what)

    def find(self, selector):
        found = self.browser.find_elements("css selector", selector)
        return found[0] if found else None

    def wait_for(self, selector):
        return self.until(lambda: self.find(selector), selector)

    def text(self, selector):
        return self.browser.execute_script(
            "return document.querySelector(arguments[0])?.textContent ?? ''", selector
        )

    def reads(self, selector, *words):
        self.until(lambda: all(word in self.text(selector) for word in words), (selector, words))

    def upload(self, selector, path):
        source, field = f"{selector} [aria-label='Upload file']", f"{selector} input[type=file]"
        self.until(lambda: self.find(source) or self.find(field), source)
        if not self.find(field):
            self.press(source)
        self.wait_for(field).send_keys(str(path))

    def press(self, selector):
        self.browser.execute_script("arguments[0].click()", self.wait_for(selector))


def test_a_speaker_enrolls_asks_and_is_deleted(browser, address, studio, tmp_path):
    for name, wav in (("take", utter(take=1)), ("silence", torch.zeros(RATE)), ("test", utter())):
        soundfile.write(tmp_path / f"{name}.wav", wav.numpy(), RATE)
    visitor = Visitor(browser)
    browser.get(address)
    visitor.upload("#take", tmp_path / "silence.wav")
    visitor.reads("#takes", "1.0", "silence")
    visitor.upload("#take", tmp_path / "take.wav")
    visitor.reads("#takes", "silence", "good")
    visitor.press("#enroll")  # without a name
    visitor.reads("body", "name the speaker")
    visitor.wait_for("#name input, #name textarea").send_keys("anna")
    visitor.press("#enroll")
    visitor.reads("#enrolled", "1 of 2 takes used", "silence (1 of 2)")
    assert studio.store.names() == ["anna"]
    visitor.upload("#test", tmp_path / "test.wav")
    visitor.reads("#answers", "own", "none")
    visitor.wait_for("#curve svg, #curve canvas")
    visitor.press("#delete")
    visitor.until(lambda: studio.store.names() == [], "deleted")
