// Command peer is a cloud-controller-manager as peers build it, to be measured beside the product:
// the framework of k8s.io/cloud-provider with a provider of its InstancesV2 that reads an oVirt
// engine one VM at a time.
//
// It is made for `benchmarks/peer.py` and for nothing else: it trusts the engine's answers, knows a
// VM by the node's system UUID only, and never logs in again.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	cloudprovider "k8s.io/cloud-provider"
	"k8s.io/cloud-provider/app"
	"k8s.io/cloud-provider/app/config"
	"k8s.io/cloud-provider/names"
	"k8s.io/cloud-provider/options"
	"k8s.io/component-base/cli"
	cliflag "k8s.io/component-base/cli/flag"
	"k8s.io/klog/v2"
)

const name = "ovirt-peer"

func main() {
	cloudprovider.RegisterCloudProvider(name, open)
	settings, err := options.NewCloudControllerManagerOptions()
	if err != nil {
		klog.Fatal(err)
	}
	command := app.NewCloudControllerManagerCommand(
		settings, provider, app.DefaultInitFuncConstructors, names.CCMControllerAliases(),
		cliflag.NamedFlagSets{}, wait.NeverStop,
	)
	os.Exit(cli.Run(command))
}

func provider(completed *config.CompletedConfig) cloudprovider.Interface {
	given := completed.ComponentConfig.KubeCloudShared.CloudProvider
	cloud, err := cloudprovider.InitCloudProvider(given.Name, given.CloudConfigFile)
	if err != nil {
		klog.Fatal(err)
	}
	return cloud
}

// engine is one oVirt engine, and the cloud that the framework asks for.
type engine struct {
	URL      string
	Username string
	Password string

	token  string
	client *http.Client
}

// open logs in to the engine that the cloud configuration names, a JSON object.
func open(configuration io.Reader) (cloudprovider.Interface, error) {
	e := &engine{client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}}
	if err := json.NewDecoder(configuration).Decode(e); err != nil {
		return nil, err
	}
	form := url.Values{
		"grant_type": {"password"}, "scope": {"ovirt-app-api"},
		"username": {e.Username}, "password": {e.Password},
	}
	request, err := http.NewRequest(
		http.MethodPost, e.URL+"/sso/oauth/token", strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	var answer struct {
		Token string `json:"access_token"`
	}
	if err := e.send(request, &answer); err != nil {
		return nil, err
	}
	e.token = answer.Token
	return e, nil
}

var errNoVM = errors.New("the engine has no such VM")

func (e *engine) send(request *http.Request, answer any) error {
	request.Header.Set("Accept", "application/json")
	reply, err := e.client.Do(request)
	if err != nil {
		return err
	}
	defer reply.Body.Close()
	body, err := io.ReadAll(reply.Body)
	switch {
	case err != nil:
		return err
	case reply.StatusCode == http.StatusNotFound:
		return errNoVM
	case reply.StatusCode != http.StatusOK:
		return fmt.Errorf("%s: %s", request.URL.Path, reply.Status)
	}
	return json.Unmarshal(body, answer)
}

// vm is what is used of a VM.
type vm struct {
	ID     string
	Status string
	Memory string
	CPU    struct {
		Topology struct{ Cores, Sockets, Threads string }
	}
	Cluster struct{ Name string }
	Devices struct {
		Device []struct {
			IPs struct {
				IP []struct{ Address string }
			}
		} `json:"reported_device"`
	} `json:"reported_devices"`
}

func (e *engine) read(ctx context.Context, node *v1.Node) (*vm, error) {
	id := strings.ToLower(node.Status.NodeInfo.SystemUUID)
	address := e.URL + "/api/vms/" + id + "?follow=reporteddevices,cluster"
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+e.token)
	request.Header.Set("Version", "4")
	found := &vm{}
	return found, e.send(request, found)
}

// ---- InstancesV2 ----------------------------------------------------------------------------

func (e *engine) InstanceExists(ctx context.Context, node *v1.Node) (bool, error) {
	_, err := e.read(ctx, node)
	if errors.Is(err, errNoVM) {
		return false, nil
	}
	return err == nil, err
}

func (e *engine) InstanceShutdown(ctx context.Context, node *v1.Node) (bool, error) {
	found, err := e.read(ctx, node)
	if err != nil {
		return false, err
	}
	return found.Status == "down", nil
}

func (e *engine) InstanceMetadata(
	ctx context.Context, node *v1.Node,
) (*cloudprovider.InstanceMetadata, error) {
	found, err := e.read(ctx, node)
	if err != nil {
		return nil, err
	}
	return &cloudprovider.InstanceMetadata{
		ProviderID:    "ovirt://" + found.ID,
		InstanceType:  size(found),
		NodeAddresses: addresses(found),
		Zone:          found.Cluster.Name,
		Region:        "east",
	}, nil
}

func size(found *vm) string {
	cpus := 1
	topology := found.CPU.Topology
	for _, part := range []string{topology.Cores, topology.Sockets, topology.Threads} {
		number, _ := strconv.Atoi(part)
		cpus *= max(number, 1)
	}
	bytes, _ := strconv.ParseInt(found.Memory, 10, 64)
	return fmt.Sprintf("%dcpu-%dgb", cpus, bytes>>30)
}

func addresses(found *vm) []v1.NodeAddress {
	var all []v1.NodeAddress
	for _, device := range found.Devices.Device {
		for _, ip := range device.IPs.IP {
			if !strings.HasPrefix(ip.Address, "fe80:") {
				all = append(all, v1.NodeAddress{Type: v1.NodeInternalIP, Address: ip.Address})
			}
		}
	}
	return all
}

// ---- the rest of the cloud, which is not there ------------------------------------------------

func (e *engine) Initialize(cloudprovider.ControllerClientBuilder, <-chan struct{}) {}
func (e *engine) InstancesV2() (cloudprovider.InstancesV2, bool)                    { return e, true }
func (e *engine) Instances() (cloudprovider.Instances, bool)                        { return nil, false }
func (e *engine) Zones() (cloudprovider.Zones, bool)                                { return nil, false }
func (e *engine) Clusters() (cloudprovider.Clusters, bool)                          { return nil, false }
func (e *engine) Routes() (cloudprovider.Routes, bool)                              { return nil, false }
func (e *engine) LoadBalancer() (cloudprovider.LoadBalancer, bool)                  { return nil, false }
func (e *engine) ProviderName() string                                              { return name }
func (e *engine) HasClusterID() bool                                                { return true }
